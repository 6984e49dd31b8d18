"""Trained models as folders: writing, reading, finding, describing, packing and converting them."""

from voiceface.utils.lazy import lazy

__getattr__ = lazy(
    __name__,
    {
        "find_checkpoint": "find",
        "list_checkpoints": "find",
        "load_checkpoint": "weights",
        "save_checkpoint": "weights",
        "halve": "weights",
        "add_results": "weights",
    },
)
