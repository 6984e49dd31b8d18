"""Trained models as folders: written, read, found, described, packed and converted."""

from importlib import import_module

# Imported when they are asked for: some need torch.
_PLACES = {
    "find_checkpoint": "find",
    "list_checkpoints": "find",
    "load_checkpoint": "weights",
    "save_checkpoint": "weights",
    "halve": "weights",
    "add_results": "weights",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
