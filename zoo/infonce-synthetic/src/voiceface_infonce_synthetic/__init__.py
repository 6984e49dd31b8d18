"""infonce-synthetic: a model of voice-face association for voiceface, trained on synthetic data."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voiceface.inference.model import Model

__version__ = "0.1.0"


def load(device: str = "cpu") -> "Model":
    """Load the checkpoint, as `voiceface.load("infonce-synthetic")` does."""
    import voiceface

    return voiceface.load(Path(__file__).parent, device=device)
