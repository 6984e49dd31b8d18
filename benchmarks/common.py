"""What the benchmarks share: the machine that they ran on, timing, result files, and sections of the docs."""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "voiceface",
    "torch",
    "torchaudio",
    "pytorch-lightning",
    "numpy",
    "numba",
    "webdataset",
    "soundfile",
    "pillow",
)


def describe() -> dict[str, Any]:
    """Describe processor, memory, system, package versions and accelerator of this machine.

    Returns:
        A JSON-ready dict without host name or paths.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions,
        "accelerator": _accelerator(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def parser(doc: str | None, questions: Iterable[str] = ()) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring; `question` is one of its questions, named as the result files."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if questions:
        made.add_argument("question", choices=list(questions))
    return made


def write(name: str, content: Mapping[str, Any]) -> None:
    """Print what was found, and write results/NAME.json with the machine."""
    print(json.dumps(content, indent=1))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**content, "machine": describe()}, indent=1) + "\n")
    print(path)


def answer(
    options: argparse.Namespace, questions: Mapping[str, Callable[[argparse.Namespace, Path], Mapping[str, Any]]]
) -> None:
    """Measure what is asked, with a folder for what comes and goes, and write results/QUESTION.json."""
    with tempfile.TemporaryDirectory() as folder:
        content = questions[options.question](options, Path(folder))
    write(options.question, content)


def load_average() -> list[float]:
    return [round(value, 1) for value in os.getloadavg()]


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call."""
    start = clock()
    call()
    return clock() - start


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each call after a first one, which warms up."""
    call()
    return [seconds(call) for _ in range(repeats)]


def in_turn(
    ways: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each way, all ways in turn, so that a busy moment hits them alike."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(seconds(way, clock))
    return found


def medians(runs: Mapping[str, Sequence[float]], digits: int = 1) -> dict[str, float]:
    return {name: round(median(values), digits) for name, values in runs.items()}


def rounded(runs: Mapping[str, Sequence[float]], digits: int = 1) -> dict[str, list[float]]:
    return {name: [round(value, digits) for value in values] for name, values in runs.items()}


def ratio(above: Sequence[float], below: Sequence[float], digits: int = 3) -> float:
    """The median of the rounds' ratios."""
    return round(median(a / b for a, b in zip(above, below, strict=True)), digits)


def replace_section(page: Path, start: str, end: str, content: str) -> None:
    """Put content between two marks of a page, each of which stands there once."""
    text = page.read_text()
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"{page.name}: needs one section from {start!r} to {end!r}")
    page.write_text(f"{text[: text.index(start)]}{start}\n{content}\n{text[text.index(end) :]}")


def table(header: str, rows: Iterable[str]) -> str:
    """A table in Markdown of lines that are made already."""
    return "\n".join([header, "|" + "---|" * (header.count("|") - 1), *rows])


@contextmanager
def drawing(path: Path, columns: int = 1, **how: Any) -> Iterator[Any]:
    """Axes of a picture, one or several side by side; it is then saved as SVG, in the same bytes each time."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # A white ground, so that the pictures read on a dark page too.
    plt.rcParams |= {"figure.facecolor": "white", "axes.facecolor": "white", "font.size": 9}
    plt.rcParams |= {"svg.hashsalt": "voiceface", "axes.spines.top": False, "axes.spines.right": False}
    figure, axes = plt.subplots(1, columns, layout="constrained", **how)
    yield axes
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
