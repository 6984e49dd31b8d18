"""voiceface: a model zoo and benchmark for voice-face association.

    import voiceface
    model = voiceface.load("trinet-synthetic")
    model.match("voice.wav", ["a.jpg", "b.jpg"])

Importing the package imports neither torch nor Lightning; `load` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceface.utils.errors import UserError
from voiceface.utils.version import __version__ as __version__

if TYPE_CHECKING:
    from voiceface.inference.model import Model

__all__ = ["UserError", "list_checkpoints", "list_recipes", "load"]


def load(name: str | Path, device: str = "cpu") -> Model:
    """Load a checkpoint for embedding, matching and retrieval. No code of the checkpoint runs.

    Args:
        name: An installed checkpoint (see `list_checkpoints`), a checkpoint folder, or `hf://owner/name[@revision]`.
        device: A torch device such as `cpu`, `cuda`, `cuda:1`.

    Raises:
        UserError: The checkpoint does not exist or is damaged, the device does not exist, or an installed library does
            not load, such as a torchaudio of another release than torch.
    """
    from voiceface.checkpoints.find import find_checkpoint

    folder = find_checkpoint(name)
    try:
        from voiceface.inference.model import Model

        return Model(folder, device)
    except Exception as error:
        from voiceface.utils.environment import load_problem

        if not isinstance(error, UserError) and (problem := load_problem(error)):
            raise UserError(problem) from None
        raise


def list_checkpoints() -> list[Any]:
    """List the installed checkpoints; see `voiceface.checkpoints.find.list_checkpoints`."""
    from voiceface.checkpoints.find import list_checkpoints

    return list(list_checkpoints())


def list_recipes() -> list[str]:
    """List the recipes for `voiceface fit --model`."""
    from voiceface.methods.recipes import list_recipes

    return list_recipes()
