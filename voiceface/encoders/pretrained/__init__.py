"""Public weight files into safetensors files that `--pretrained` takes; one file here per network, found by its name.

Nothing is downloaded, and reading a file runs no code from it.
"""

from pathlib import Path

METHODS = "method_"


def list_importers() -> list[str]:
    """What weights can be imported for, without importing torch: names of encoders, then of whole methods."""
    files = [path.stem for path in Path(__file__).parent.glob("*_*.py") if path.stem != "__init__"]
    encoders = [name for name in files if name.startswith(("face_", "voice_"))]
    return sorted(encoders) + sorted(name.removeprefix(METHODS) for name in files if name.startswith(METHODS))
