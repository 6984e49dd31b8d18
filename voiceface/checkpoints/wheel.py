"""A wheel of a checkpoint: its files, `load()`, and an entry point for `voiceface.load` and `list`.

Hatchling builds the wheel from a project written by `write_source`; the folders of `zoo/` are such projects.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from voiceface.checkpoints.config import FILES, GROUP, NAME, canonical, compatible, read_config, read_part
from voiceface.checkpoints.wheel_templates import MODULE, PROJECT, ZOO
from voiceface.utils.errors import UserError, reason

META = "voiceface-zoo"  # the distribution that installs a whole zoo


class Package(NamedTuple):
    """The names and metadata of a packed checkpoint."""

    name: str
    """Name for `voiceface.load`."""
    version: str
    requires: str
    """Compatible versions of voiceface, such as `>=0.1,<0.2`."""
    licence: str
    """SPDX expression."""
    description: str
    others: str = ""
    """Further dependencies, each after a comma: what has the checkpoint's own classes."""

    @property
    def distribution(self) -> str:
        """Name for `pip install`."""
        return f"voiceface-{canonical(self.name)}"

    @property
    def package(self) -> str:
        """Name for `import`."""
        return self.distribution.replace("-", "_")


def pack(folder: Path, out: Path, name: str | None = None, version: str | None = None) -> Path:
    """Build a wheel of a checkpoint; the bytes depend only on the checkpoint and the version of hatchling.

    Args:
        folder: Checkpoint folder.
        out: Folder of the wheel, created if missing.
        name: Name for `voiceface.load`; None: from config.json, else recipe and corpus.
        version: Version of the wheel; None: the voiceface version that wrote the checkpoint.

    Returns:
        Path of the wheel.

    Raises:
        UserError: The checkpoint cannot be loaded, its card states no licence, name or version is not valid, the wheel
            exists already or cannot be written, or hatchling is not installed.
    """
    from voiceface.utils.files import write_for_user

    try:
        from hatchling.builders.wheel import WheelBuilder
    except ImportError:
        raise UserError("building a wheel needs the extra `pack`: pip install 'voiceface[pack]'") from None
    what = describe(folder, name, version)
    wheel = out / f"{what.package}-{what.version}-py3-none-any.whl"
    if wheel.exists():
        raise UserError(f"{wheel}: already exists; give another --version or --out, or remove it")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            project = Path(temporary, what.name)
            _write_project(folder, project, what)
            (built,) = WheelBuilder(str(project)).build(directory=temporary, versions=["standard"])
            write_for_user(wheel, Path(built).read_bytes())
    except OSError as error:
        raise UserError(f"{wheel}: cannot be built ({reason(error)}); make room") from None
    return wheel


def write_source(folder: Path, zoo: Path, name: str | None = None, version: str | None = None) -> Path:
    """Write the project of a checkpoint's wheel, and add it to the dependencies of `voiceface-zoo` if the zoo has that.

    Args:
        folder: Checkpoint folder.
        zoo: Folder in which the project's folder is created, named after the checkpoint.
        name: As for `pack`.
        version: As for `pack`.

    Returns:
        The project's folder.

    Raises:
        UserError: As for `pack`, except hatchling.
    """
    what = describe(folder, name, version)
    project = zoo / what.name
    if project.exists():
        raise UserError(f"{project}: already exists; remove it first, or give another --name")
    try:
        zoo.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=zoo, prefix=".") as temporary:
            _write_project(folder, Path(temporary, what.name), what)
            Path(temporary, what.name).rename(project)
    except OSError as error:
        raise UserError(f"{project}: cannot be written ({reason(error)})") from None
    if (zoo / META).is_dir():
        write_zoo(zoo)
    return project


def write_zoo(zoo: Path) -> Path:
    """Write the project of the wheel that installs all checkpoints in a zoo.

    Args:
        zoo: Folder of projects written by `write_source`.

    Returns:
        Its `pyproject.toml`.

    Raises:
        UserError: The file cannot be written.
    """
    from voiceface.utils.files import write_for_user
    from voiceface.utils.version import __version__

    line = re.compile(r'^(name|version) = "([^"]+)"$', re.MULTILINE)
    found = [dict(line.findall(path.read_text())) for path in sorted(zoo.glob("*/pyproject.toml"))]
    ours = [f'    "{each["name"]}=={each["version"]}",\n' for each in found if each["name"] != META]
    path = zoo / META / "pyproject.toml"
    content = ZOO.format(distribution=META, version=__version__, dependencies="".join(ours))
    write_for_user(path, content.encode())
    return path


def describe(folder: Path, name: str | None = None, version: str | None = None) -> Package:
    """Check a checkpoint and collect the metadata of its wheel; see `pack`."""
    licence = check_whole(folder)
    config = read_config(folder)
    given = _name(name or config["name"])
    own = config.get("distributions", {})
    if "distributions" in config and not own:
        raise UserError(
            f"{folder}: needs a class of no installed package ({config['method']}.{config['class']} or an encoder), so "
            "a wheel could not say what it needs; make a package of it, install it and train again"
        )
    corpus = re.sub(r"[^\w .,-]", "", str(config["data"].get("corpus") or "unknown"))
    return Package(
        given,
        _version(version or config["voiceface"]),
        str(SpecifierSet(config["requires"] or compatible(config["voiceface"]))),
        licence,
        f"{given}: a model of voice-face association for voiceface, trained on {corpus} data",
        "".join(f', "{each}>={version}"' for each, version in own.items()),
    )


def check_whole(folder: Path) -> str:
    """Check that a checkpoint can be published.

    Args:
        folder: Checkpoint folder.

    Returns:
        Its licence, see `read_licence`.

    Raises:
        UserError: It cannot be loaded, its card states no licence, its result is damaged or of other weights, or one of
            its files is a link to a file elsewhere, which would be published.
    """
    from voiceface.checkpoints.weights import load_checkpoint
    from voiceface.evaluation.results import effects_content, read_results

    here = Path(os.path.realpath(folder))
    own = [here, *([here.parents[1] / "blobs"] if here.parent.name == "snapshots" else [])]  # of the hub's cache
    for name in FILES:
        if Path(os.path.realpath(folder / name)).parent not in own:
            raise UserError(f"{folder / name}: a link to a file elsewhere; put a copy of the file there")
    licence = read_licence(folder)
    load_checkpoint(folder)
    path = folder / "results.json"
    if path.exists():
        results = read_results(path)
        effects_content(path, results)
        if results["model"]["checkpoint"] != read_config(folder)["sha256"]:
            raise UserError(f"{path}: not the result of these weights; test the checkpoint again")
    return licence


def read_licence(folder: Path) -> str:
    """Read the licence of a checkpoint, an SPDX expression, from its card.

    Raises:
        UserError: There is no card, or it states no licence.
    """
    path = folder / "README.md"
    try:
        text = path.read_text("utf-8")
        found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        front: Any = yaml.safe_load(found[1]) if found else None
        said = front.get("license_name") or front["license"]
        if not isinstance(said, str):  # the text of nested lists could be endless
            raise TypeError("no text")
    except FileNotFoundError:
        raise UserError(f"{folder}: no card (README.md), which would say the licence") from None
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path}: its front matter names no license; write one, as `license: apache-2.0`") from None
    try:
        return canonicalize_license_expression(said)
    except InvalidLicenseExpression:
        return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", said).strip("-") or "unknown")


def _write_project(folder: Path, project: Path, what: Package) -> None:
    """Write the files of a project into a new folder."""
    package = project / "src" / what.package
    package.mkdir(parents=True)
    for file in FILES:
        if (folder / file).is_file():
            shutil.copyfile(folder / file, package / file)
    config = read_part(package / "config.json")
    if config.get("name", what.name) != what.name:  # those of schema 1 have none
        (package / "config.json").write_text(json.dumps({**config, "name": what.name}, indent=1))
        card = (package / "README.md").read_text("utf-8")
        (package / "README.md").write_text(card.replace(f"# {config['name']}\n", f"# {what.name}\n", 1), "utf-8")
    words = {**what._asdict(), "distribution": what.distribution, "package": what.package, "group": GROUP}
    (project / "pyproject.toml").write_text(PROJECT.format(**words), "utf-8")
    (package / "__init__.py").write_text(MODULE.format(**words), "utf-8")
    weights = hashlib.sha256((package / "model.safetensors").read_bytes()).hexdigest()
    if weights != config["sha256"]:
        raise UserError(f"{folder}: changed while it was packed; pack it again")


def _name(given: str) -> str:
    """Reject an invalid checkpoint name or package name (PEP 508)."""
    if not NAME.fullmatch(given) or len(given) > 100:
        raise UserError(f"--name {given}: not a name; use a-z, 0-9 and single . _ - between them")
    if f"voiceface-{canonical(given)}" == META:
        raise UserError(f"--name {given}: {META} is the package of all checkpoints; choose another name")
    return given


def _version(given: str) -> str:
    try:
        return str(Version(given))
    except InvalidVersion:
        raise UserError(f"--version {given}: not a version (PEP 440), such as 1.0 or 1.0.post1") from None
