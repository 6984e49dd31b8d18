"""The published methods, a file each; `recipes/` has what `--model` takes, `facts/` what the papers say."""

from importlib import import_module

# Imported when they are asked for: some need torch.
_PLACES = {
    "Method": "base",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
