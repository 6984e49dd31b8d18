"""Which results there are to compare: named files and folders, installed checkpoints, those that come with voiceface.

What cannot be compared is named with its reason and left out; the rest is compared.
"""

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.checkpoints.config import canonical
from voiceface.checkpoints.find import Installed, list_checkpoints
from voiceface.evaluation.results import parse_results, read_content, read_effects, read_results
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import read_json

REFERENCE = Path(__file__).parent / "reference"
DEPTH = 3  # folders below a named one that are searched
RUN_FILES = ("config.yaml", "metrics.csv")

LeftOut = list[tuple[str, str]]


@dataclass(frozen=True)
class Found:
    """A result.

    Attributes:
        path: Its file.
        results: The content.
        unpaired: Why it takes part in no paired test; empty: it does.
    """

    path: Path
    results: Mapping[str, Any]
    unpaired: str = ""

    def effects(self) -> dict[int, NDArray[np.float64]] | None:
        """The effects of people on its scores, read now (`voiceface.evaluation.results`); None: there are none.

        Raises:
            UserError: The effects file changed since the result was found.
        """
        return None if self.unpaired else read_effects(self.path, dict(self.results))


def find_results(paths: Sequence[Path]) -> tuple[list[Found], LeftOut]:
    """Read the results that paths lead to.

    Args:
        paths: Each a result file (`.json`, `.json.gz`), a run or checkpoint folder, a folder in which results are
            searched, three folders deep, or the name of an installed checkpoint.

    Returns:
        The results in the order of the paths, each once; and what was left out: path, and why in a line.

    Raises:
        UserError: There is no result at all.
    """
    found, left_out = _read(paths)
    if not found:
        why = [f"{path}: {reason}" for path, reason in left_out] or ["no file or folder is named"]
        more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
        raise UserError(f"there is no result to compare: {why[0]}{more}")
    return found, left_out


def installed_results() -> tuple[list[Found], LeftOut]:
    """Read the results of the installed checkpoints, without running any code of theirs.

    Returns:
        The results by the names of the checkpoints; and what was left out, as of `find_results`: checkpoints that
        cannot be loaded (`voiceface.checkpoints.find.list_checkpoints`) or were not tested.
    """
    paths: list[Path] = []
    left_out: LeftOut = []
    for one in list_checkpoints():
        paths += _of_installed(one, one.name, left_out)
    found, broken = _read(paths)
    return found, left_out + broken


def reference_results(without: Container[str] = ()) -> list[Found]:
    """Read the results that come with voiceface.

    Args:
        without: Recipes to leave out.

    Raises:
        UserError: One is damaged.
    """
    paths = sorted(REFERENCE.glob("*/results.json.gz"))
    found, broken = _read([path for path in paths if path.parent.name not in without])
    broken += [(str(one.path), one.unpaired) for one in found if one.unpaired]
    if broken:
        raise UserError(f"{broken[0][0]}: {broken[0][1]}; install voiceface again")
    return found


def _read(paths: Sequence[Path]) -> tuple[list[Found], LeftOut]:
    """Read each result once; of two that are the same, that which can be paired."""
    found: dict[Any, Found] = {}
    places: dict[str, Path] = {}
    left_out: LeftOut = []
    for named in paths:
        number = len(left_out), len(places)
        for path in _files(named, left_out):
            try:
                real = os.path.realpath(path)  # unlike `Path.resolve`, of a link that leads to itself too
                if real in places:
                    left_out.append((str(path), f"named twice: it is {places[real]}"))
                    continue
                places[real] = path
                one = _found(path)
            except UserError as error:
                left_out.append((str(path), str(error).removeprefix(f"{path}: ")))
                continue
            twin = found.setdefault(_scores(one.results), one)
            if twin is not one:
                better = one if twin.unpaired and not one.unpaired else twin
                found[_scores(one.results)] = better
                spare = twin if better is one else one
                left_out.append((str(spare.path), f"the same result as {better.path}, which is kept"))
        if number == (len(left_out), len(places)):
            left_out.append((str(named), f"no result in this folder, nor up to {DEPTH} folders below it"))
    return list(found.values()), left_out


def _found(path: Path) -> Found:
    results = read_results(path)
    in_checkpoint = path.name == "results.json" and path.with_name("model.safetensors").exists()
    if in_checkpoint and not _is_of(path, path.parent):
        raise UserError("the result of other weights than those of the checkpoint in its folder; test that one")
    if results["schema"] == 1:
        return Found(path, results, "its file is of schema 1, which kept no effects of people; test the model again")
    try:
        read_effects(path, results)
    except UserError as error:
        return Found(path, results, str(error))
    return Found(path, results)


def _scores(results: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two files of one result share, also where a checkpoint was tested twice."""
    model, data = results["model"], results["data"]
    same = model["recipe"], model["method"], model["checkpoint"], data["clips_sha256"]
    return *same, *((r["protocol"], r["metric"], r["value"]) for r in results["scores"])


def _files(path: Path, left_out: LeftOut) -> Iterator[Path]:
    """The files that a named path leads to; where there is no such path, that of the installed checkpoint so called."""
    named = (
        [one for one in list_checkpoints() if canonical(one.name) == canonical(str(path))] if not path.exists() else []
    )
    if named:
        yield from _of_installed(named[0], str(path), left_out)
    elif not path.is_dir():
        yield path
    elif (path / "model.safetensors").exists() and not (path / "results.json").exists():
        beside = path.resolve().parent / "results.json"
        if _is_of(beside, path):
            yield path.parent / "results.json" if path.name not in ("", "..") else beside
        else:
            left_out.append((str(path), f"a checkpoint without its result; `voiceface test {path}` makes one"))
    else:
        yield from _below(path, DEPTH, left_out)


def _of_installed(checkpoint: Installed, name: str, left_out: LeftOut) -> list[Path]:
    """The result of an installed checkpoint."""
    path = checkpoint.folder and checkpoint.folder / "results.json"
    if path is not None and path.is_file():
        return [path]
    left_out.append((f"checkpoint {name}", checkpoint.problem or "not tested: it has no results.json"))
    return []


def _is_of(result: Path, checkpoint: Path) -> bool:
    """Whether a result file is that of a checkpoint folder's weights."""
    try:
        about, results = (read_json(path) for path in (checkpoint / "config.json", result))
        return bool(about["sha256"] == results["model"]["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _below(folder: Path, depth: int, left_out: LeftOut) -> Iterator[Path]:
    """The results in a folder and below it; a run that has none yet is named."""
    try:
        entries = sorted(folder.iterdir())
        inside = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        files = [entry for entry in entries if entry.name.endswith((".json", ".json.gz")) and entry.is_file()]
    except OSError as error:
        left_out.append((str(folder), f"cannot be read ({reason(error)})"))
        return
    yield from (file for file in files if _may_be_result(file))
    if folder / "results.json" in files:
        return
    if {entry.name for entry in entries}.issuperset(RUN_FILES):
        left_out.append((str(folder), "a run without results.json: it has not ended; resume with --ckpt_path last"))
    elif depth:
        for entry in inside:
            yield from _below(entry, depth - 1, left_out)


def _may_be_result(file: Path) -> bool:
    """Whether to tell the user of a file that was not named, if it cannot be read: other JSON is passed over."""
    if file.name.startswith("results."):
        return True
    try:
        content = read_content(file)
        return b'"scores"' in content or "scores" in parse_results(file, content)
    except UserError as error:
        return "no sections" not in str(error)
