"""voiceface: a model zoo and benchmark for voice-face association.

    import voiceface
    model = voiceface.load("trinet-synthetic")
    model.match("voice.wav", ["a.jpg", "b.jpg"])

Importing the package imports neither torch nor Lightning; the functions do.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from voiceface.api import evaluate, fit, list_checkpoints, list_recipes, load, score
from voiceface.utils.errors import UserError
from voiceface.utils.version import __version__ as __version__

if _TYPE_CHECKING:
    from voiceface.compare.leaderboard import compare
else:
    from voiceface import compare  # type: ignore[assignment]  # the package, which can be called

__all__ = ["UserError", "compare", "evaluate", "fit", "list_checkpoints", "list_recipes", "load", "score"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
