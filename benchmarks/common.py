"""What the benchmarks share: options, timing in turns, memory, the machine, result files, and sections of the docs."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
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
PACKAGES = ("voiceface", "torch", "torchaudio", "pytorch-lightning", "numpy", "numba", "webdataset", "soundfile")
PACKAGES += ("pillow",)

Runs = dict[str, list[float]]
Ways = Mapping[str, Callable[[], object]]
Question = Callable[[argparse.Namespace, Path], Mapping[str, Any]]


def describe() -> dict[str, Any]:
    """Describe processor, memory, system, package versions and accelerator of this machine, without its name."""
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions,
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
    }


def parser(doc: str | None, questions: Iterable[str] = (), **defaults: Any) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring.

    Args:
        doc: The docstring.
        questions: What the benchmark can measure, named as the result files; `question` is one of them.
        defaults: Options, each with its default: False for a flag, or a number, a text or a type for any other.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if questions:
        made.add_argument("question", choices=list(questions))
    for name, default in defaults.items():
        option = "--" + name.replace("_", "-")
        if default is False:
            made.add_argument(option, action="store_true")
        elif isinstance(default, type):
            made.add_argument(option, type=default)
        else:
            made.add_argument(option, type=type(default), default=default, help=f"default: {default}")
    return made


def answer(doc: str | None, questions: Mapping[str, Question], **defaults: Any) -> None:
    """Measure the question of the command line, in a folder that is deleted after, and write OUT/QUESTION.json."""
    options = parser(doc, questions, **defaults, out=RESULTS).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        content = questions[options.question](options, Path(folder))
    write(options.question, content, options.out)


def write(name: str, content: Mapping[str, Any], out: Path = RESULTS) -> None:
    """Print what was found, and write OUT/NAME.json with the load and the machine."""
    print(json.dumps(content, indent=1))
    load = [round(value, 1) for value in os.getloadavg()]
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps({**content, "load_average": load, "machine": describe()}, indent=1) + "\n")
    print(path)


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call."""
    start = clock()
    call()
    return clock() - start


def in_turn(ways: Ways, repeats: int, clock: Callable[[], float] = time.perf_counter, warm_up: bool = True) -> Runs:
    """Seconds of each way, all ways in turn, so that a busy moment hits them alike; a first round is not counted."""
    rounds = [{name: seconds(way, clock) for name, way in ways.items()} for _ in range(repeats + warm_up)][warm_up:]
    return {name: [one[name] for one in rounds] for name in ways}


def rates(runs: Mapping[str, Sequence[float]], items: float) -> Runs:
    """Items per second."""
    return {name: [items / taken for taken in values] for name, values in runs.items()}


def medians(runs: Mapping[str, Sequence[float]], digits: int = 1) -> dict[str, float]:
    return {name: round(median(values), digits) for name, values in runs.items()}


def summary(name: str, runs: Mapping[str, Sequence[float]], digits: int = 1) -> dict[str, Any]:
    """The medians of runs and the runs themselves, for a result file."""
    every = {way: [round(value, digits) for value in values] for way, values in runs.items()}
    return {f"{name}_median": medians(runs, digits), name: every}


def ratio(above: Sequence[float], below: Sequence[float], digits: int = 3) -> float:
    """The median of the rounds' ratios."""
    return round(median(a / b for a, b in zip(above, below, strict=True)), digits)


def python(*words: object, **how: Any) -> str:
    """What a Python process of its own prints."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, **how).stdout


def memory_mib(field: str = "VmHWM") -> float:
    """Resident memory of this process: at its peak (VmHWM), or now (VmRSS); always the peak outside Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


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
