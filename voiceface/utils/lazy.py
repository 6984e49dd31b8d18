"""Lazy imports of a package's names, because some need torch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Build the `__getattr__` of a package.

    Args:
        package: Its `__name__`.
        places: For each name, the module in the package that defines it.
    """

    def find(name: str) -> Any:
        if name in places:
            return getattr(import_module(f"{package}.{places[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
