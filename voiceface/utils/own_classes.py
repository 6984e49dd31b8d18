"""Methods and encoders of other packages: how a class of the user's own is found, and when it is trusted.

Importing a module runs its code, so a class is imported only where the user names it (`import_class`) or where an
installed distribution offers it as an entry point (`installed`). What a file names is looked up by `find_class`, which
imports nothing else.
"""

import functools
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, EntryPoint, distribution, entry_points, packages_distributions
from typing import Any

from voiceface.utils.errors import UserError
from voiceface.utils.text import nearest

METHOD_GROUP = "voiceface.methods"
"""Group of the entry points whose values are methods."""
ENCODER_GROUP = "voiceface.encoders"
"""Group of the entry points whose values are face or voice encoders."""

_named: dict[str, type] = {}


def trust(owner: type) -> type:
    """Let checkpoints that need a class of this name have this one, until the process ends."""
    _named[owner.__name__] = owner
    return owner


def search_here() -> None:
    """Let imports find modules of the current folder, after all installed ones."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())


def import_class(path: str, base: type | tuple[type, ...], what: str) -> type:
    """Import a class that the user names, and trust it. Modules of the current folder are found, installed ones first.

    Args:
        path: `package.module.Class`, or the name of an entry point of the group of `base`.
        base: What it must be a subclass of.
        what: The option, for messages.

    Raises:
        UserError: There is no such module or class, importing it fails, or it is of another kind.
    """
    bases = base if isinstance(base, tuple) else (base,)
    for group in (METHOD_GROUP, ENCODER_GROUP):
        entry = installed(group).get(path)
        if entry is not None and isinstance(owner := _load(entry), type) and issubclass(owner, bases):
            return trust(owner)
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module:
        raise UserError(f"{what} {path}: not the path of a class; write package.module.Class")
    search_here()
    try:
        content = importlib.import_module(module)
        owner = getattr(content, name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise UserError(f"{what} {path}: {_failed(module, error)}") from None
        raise UserError(
            f"{what} {path}: there is no module {error.name}; install its package, or work in the folder that holds it"
        ) from None
    except Exception as error:
        raise UserError(f"{what} {path}: {_failed(module, error)}") from None
    if not isinstance(owner, type):
        classes = [each for each, value in vars(content).items() if isinstance(value, type)]
        raise UserError(f"{what} {path}: the module {module} has no class {name}{nearest(name, classes)}")
    if not issubclass(owner, bases):
        kinds = " or ".join(f"{each.__module__.removesuffix('.base')}.{each.__name__}" for each in bases)
        raise UserError(f"{what} {path}: must be a subclass of {kinds}")
    return trust(owner)


def find_class(path: str, group: str) -> type | None:
    """Find the class that a file names: one that is trusted, imported already, or an entry point of the group.

    Args:
        path: `package.module.Class`; or the name of an entry point.
        group: `METHOD_GROUP` or `ENCODER_GROUP`.

    Returns:
        The class, of whatever kind; None: there is none, or it would have to be imported.

    Raises:
        UserError: An entry point of its package cannot be loaded.
    """
    module, _, name = path.rpartition(".")
    offered = installed(group)
    if not module:
        found = _load(offered[path]) if path in offered else None
        return found if isinstance(found, type) else None
    package = module.partition(".")[0]
    if package == "voiceface":
        return None
    if name in _named:
        return _named[name]
    found = getattr(sys.modules.get(module), "__dict__", {}).get(name)  # getattr of the module itself may import
    if isinstance(found, type):
        return found
    for entry in offered.values():
        if _package(entry) == package:
            found = _load(entry)  # it may be offered from another module of its package than the one it stands in
            if isinstance(found, type) and (found.__module__, found.__name__) == (module, name):
                return found
    return None


def installed(group: str) -> dict[str, EntryPoint]:
    """What installed distributions offer in a group, by name; nothing is imported.

    Raises:
        UserError: Two distributions offer the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group)):
        if entry.name in found and found[entry.name].value != entry.value:
            names = " and by ".join(each.dist.name if each.dist else "?" for each in (found[entry.name], entry))
            raise UserError(f"{entry.name}: offered in {group} by {names}; uninstall one of them")
        found[entry.name] = entry
    return dict(sorted(found.items()))


def distributions_of(owners: Iterable[type]) -> dict[str, str]:
    """Names and versions of the installed distributions that classes are of; those of a mere folder are left out."""
    found = {}
    for owner in owners:
        one = _distribution(owner.__module__.partition(".")[0])
        if one is not None:
            found[one.name] = one.version
    return found


def is_own(owner: type) -> bool:
    """Whether a class is of another package than voiceface."""
    return owner.__module__.partition(".")[0] != "voiceface"


def _package(entry: EntryPoint) -> str:
    return re.split(r"[.:]", entry.value)[0]


def _distribution(package: str) -> Distribution | None:
    """The distribution that installed a package; None: none did, or one that does not say so."""
    for group in (METHOD_GROUP, ENCODER_GROUP):
        for entry in installed(group).values():
            if _package(entry) == package:
                return entry.dist
    names = _packages().get(package)
    return distribution(names[0]) if names else None


@functools.cache  # reading what every distribution holds takes most of a second
def _packages() -> Mapping[str, list[str]]:
    return packages_distributions()


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        name = entry.dist.name if entry.dist else "an unnamed distribution"
        raise UserError(f"{entry.name}, of {name}: {_failed(entry.value, error)}") from None


def _failed(module: str, error: BaseException) -> str:
    """Why an import failed, and in which line."""
    where = traceback.extract_tb(error.__traceback__)
    place = f" in {where[-1].filename}, line {where[-1].lineno}" if where else ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" in {error.filename}, line {error.lineno}"
    said = next(iter(str(error).splitlines()), "")
    return f"importing {module} fails with {type(error).__name__}: {said}{place}"
