"""Finding checkpoints: a folder, an installed name or one on the Hugging Face hub. None of their code is run.

A distribution that provides a checkpoint has an entry point of the group `voiceface.checkpoints`: its name is the
checkpoint's name, its value the package with the files of the checkpoint folder. `voiceface pack` builds such
distributions.
"""

import base64
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from voiceface.checkpoints.config import FILES, GROUP, HUB, REQUIRED, canonical, check_version, read_config, read_part
from voiceface.methods.recipes import equivalent_recipe, list_recipes, nearest
from voiceface.utils.errors import UserError


@dataclass(frozen=True)
class Installed:
    """An installed checkpoint.

    Attributes:
        name: Name for `voiceface.load`.
        version: Version of the distribution that provides it.
        distribution: Name of that distribution.
        folder: Folder of its files; None if there is a problem.
        recipe: The recipe that trained it.
        corpus: The corpus that it was trained on.
        matching: Accuracy of 1:2 matching by direction, `v2f` and `f2v`, in [0, 1]; empty: it has no result.
        licence: Licence expression of the distribution; empty: not stated.
        problem: Why it cannot be used, in one line; empty: no problem.
    """

    name: str
    version: str
    distribution: str
    folder: Path | None = None
    recipe: str = ""
    corpus: str = ""
    matching: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    problem: str = ""


def find_checkpoint(name: str | Path) -> Path:
    """Find a checkpoint's folder.

    Args:
        name: A checkpoint folder, the name of an installed checkpoint, or `hf://owner/name[@revision]`. A folder takes
            precedence over an installed checkpoint of the same name.

    Returns:
        The folder. Its content is not checked yet.

    Raises:
        UserError: There is no such checkpoint, its installation is broken, or two distributions claim its name.
    """
    text = str(name)
    if text.startswith(HUB):
        from voiceface.checkpoints.hub import download

        return download(text)
    folder = Path(name)
    if os.path.isfile(folder / "config.json"):
        return folder
    claims = [] if len(folder.parts) != 1 else _claims().get(canonical(text), [])
    if claims:
        _one_claim(text, claims)
        try:
            return _folder(claims[0])
        except UserError as error:
            raise UserError(f"checkpoint {text}, of {_distribution(claims[0])}: {error}") from None
    if os.path.exists(folder):
        inner = folder / "checkpoint"
        wanted = inner if os.path.isfile(inner / "config.json") else "the one that `voiceface fit` writes, `checkpoint`"
        raise UserError(f"{folder}: not a checkpoint folder (no config.json); give {wanted}")
    if isinstance(name, Path) or len(folder.parts) != 1:
        raise UserError(f"{text}: no such folder; give a checkpoint folder, an installed name or {HUB}owner/name")
    known = sorted(_claims())
    there = f"installed: {', '.join(known)}" if known else "none is; `voiceface pack` makes a wheel of a run's"
    recipe, _, corpus = text.rpartition("-")
    same = equivalent_recipe(recipe, "demo", "paper") if recipe in list_recipes() and corpus == "synthetic" else None
    if same is not None:
        there = f"with the small networks of the zoo {recipe} is {same}: give {same}-synthetic"
    zoo = {canonical(one): one for one in zoo_names()}
    if canonical(text) in zoo:
        raise UserError(f"{text}: this checkpoint of the zoo is not installed; {install_command(zoo[canonical(text)])}")
    near = nearest(canonical(text), [*known, *zoo])
    raise UserError(f"{text}: no such folder, and no checkpoint of this name is installed{near}; {there}")


def list_checkpoints() -> list[Installed]:
    """List the installed checkpoints by name; `problem` explains those that cannot be used."""
    return [_about(entry, claims) for _, claims in sorted(_claims().items()) for entry in claims]


def zoo_names() -> list[str]:
    """List the names of the zoo's checkpoints: of each recipe whose result comes with voiceface."""
    folders = (Path(__file__).parents[1] / "compare/reference").iterdir()
    return sorted(f"{folder.name}-synthetic" for folder in folders if folder.is_dir())


def install_command(name: str = "NAME") -> str:
    """Say how a checkpoint of the zoo is installed: from the folder `zoo` of a clone of the repository.

    Args:
        name: One of `zoo_names`.
    """
    clone = Path(__file__).parents[2] / "zoo"  # where voiceface is installed in editable form
    if not (clone / "build.py").is_file() or Path("zoo/build.py").is_file():
        clone = Path("./zoo")
    where = "" if (clone / "build.py").is_file() else " in a clone of the repository"
    return f"`pip install {f'./zoo/{name}' if clone == Path('zoo') else clone / name}`{where}"


def only_checkpoint() -> str:
    """Return the name of the installed checkpoint, for a command that was given none.

    Raises:
        UserError: None or more than one is installed.
    """
    known = sorted(_claims())
    if len(known) == 1:
        return known[0]
    there = f"{len(known)} are installed ({', '.join(known)})" if known else "none is installed"
    raise UserError(f"CHECKPOINT: {there}; give a checkpoint folder, an installed name or {HUB}owner/name")


def matching_scores(results: dict[str, Any]) -> dict[str, float]:
    """Extract the accuracy of 1:2 matching among all people, by direction, from a result's scores."""
    wanted = {"task": "matching", "stratum": "U", "n": 2, "metric": "accuracy"}
    return {
        record["direction"]: float(record["value"])
        for record in results["scores"]
        if record["protocol"] in ("exact", "sampled") and all(record[key] == value for key, value in wanted.items())
    }


def _claims() -> dict[str, list[EntryPoint]]:
    """Group the entry points by canonical checkpoint name; several if more than one claims a name."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (_distribution(entry), entry.value)):
        found.setdefault(canonical(entry.name), []).append(entry)
    return found


def _one_claim(name: str, claims: Iterable[EntryPoint]) -> None:
    names = [_distribution(entry) for entry in claims]
    if len(names) > 1:
        raise UserError(f"checkpoint {name}: claimed by {' and by '.join(names)}; uninstall all but the one you want")


def _distribution(entry: EntryPoint) -> str:
    return (entry.dist.name if entry.dist else None) or "an unnamed distribution"


def _about(entry: EntryPoint, claims: list[EntryPoint]) -> Installed:
    metadata = entry.dist.metadata if entry.dist else None
    version, licence = (
        metadata[key] if metadata and key in metadata else "" for key in ("Version", "License-Expression")
    )
    broken = partial(Installed, entry.name, version, _distribution(entry))
    try:
        _one_claim(entry.name, claims)
        folder = _folder(entry)
        config = read_config(folder)
        check_version(folder, config)
        scores = {}
        if (folder / "results.json").exists():
            results = read_part(folder / "results.json")
            if results["model"]["checkpoint"] != config["sha256"]:
                return broken(problem="its results.json is of other weights; reinstall it")
            scores = matching_scores(results)
    except UserError as error:
        return broken(problem=str(error))
    except (KeyError, TypeError, ValueError):
        return broken(problem="its results.json does not hold the scores that it should; reinstall it")
    corpus = str(config["data"].get("corpus") or "unknown data")
    return Installed(entry.name, version, _distribution(entry), folder, config["recipe"], corpus, scores, licence)


def _folder(entry: EntryPoint) -> Path:
    """Find the folder of an installed checkpoint without importing its package, which would run its code.

    Raises:
        UserError: Files are missing, belong to another distribution, or were changed since installation.
    """
    package = entry.value.partition(":")[0].strip()
    parts = package.split(".")
    if entry.dist is None or not all(part.isidentifier() for part in parts):
        raise UserError(f"its entry point names no package ({entry.value!r}); reinstall it")
    folder = _owned(entry.dist, parts) or (_editable(parts) if _may_be_elsewhere(entry.dist) else None)
    missing = [name for name in REQUIRED if folder is None or not (folder / name).is_file()]
    if folder is None or missing:
        raise UserError(f"its package {package} holds no {missing[0]}; reinstall it")
    _unchanged(entry.dist, parts, folder)
    said = read_part(folder / "config.json").get("name")  # those of schema 1 have none
    if said is not None and canonical(str(said)) != canonical(entry.name):
        raise UserError(f"its config.json says that it is {said}, not {entry.name}; reinstall it")
    return folder


def _owned(dist: Distribution, parts: list[str]) -> Path | None:
    """Return the folder of a package if the distribution says that it installed the config file in it."""
    files = dist.files
    if files is not None and not any(file.parts == (*parts, "config.json") for file in files):
        return None
    place = dist.locate_file("/".join(parts))
    if isinstance(place, Path):
        return place if (place / "config.json").is_file() else None
    return _unzipped(dist, parts)


def _unzipped(dist: Distribution, parts: list[str]) -> Path:
    """Copy the files of a checkpoint imported from a zip archive into the cache, once."""
    from voiceface.data.corpus.remote import cache_folder
    from voiceface.utils.files import write_for_user

    version = hashlib.sha256((dist.read_text("RECORD") or "").encode()).hexdigest()[:16]
    folder = cache_folder() / "checkpoints" / f"{parts[-1]}-{version}"
    for name in reversed(FILES):  # config.json is last: it makes the folder a checkpoint
        inside: Any = dist.locate_file("/".join([*parts, name]))
        if not (folder / "config.json").exists() and inside.exists():
            write_for_user(folder / name, inside.read_bytes())
    return folder


def _may_be_elsewhere(dist: Distribution) -> bool:
    """Return whether a distribution's files may be outside it: in an editable installation or without a record."""
    if dist.files is None:
        return True
    try:
        return bool(json.loads(dist.read_text("direct_url.json") or "{}")["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return False


def _editable(parts: list[str]) -> Path | None:
    try:
        spec = importlib.util.find_spec(parts[0])  # only the outermost package: searching inside would import it
    except (ImportError, ValueError):
        return None
    folders = (Path(place, *parts[1:]) for place in ((spec.submodule_search_locations or []) if spec else []))
    return next((folder for folder in folders if (folder / "config.json").is_file()), None)


def _unchanged(dist: Distribution, parts: list[str], folder: Path) -> None:
    """Reject a config file that is not the installed one; loading checks the weights by the hash in it."""
    for file in dist.files or []:
        if file.parts == (*parts, "config.json") and file.hash and file.hash.mode == "sha256":
            found = hashlib.sha256((folder / "config.json").read_bytes()).digest()
            if base64.urlsafe_b64encode(found).decode().rstrip("=") != file.hash.value:
                raise UserError("its config.json is not the one that was installed; reinstall it")
