"""voiceface: a model zoo and benchmark for voice-face association.

    import voiceface
    model = voiceface.load("trinet-synthetic")
    model.match("voice.wav", ["a.jpg", "b.jpg"])

Importing the package imports neither torch nor Lightning; the functions do.
"""

from voiceface.api import evaluate, fit, list_checkpoints, list_recipes, load, score
from voiceface.utils.errors import UserError
from voiceface.utils.version import __version__ as __version__

__all__ = ["UserError", "evaluate", "fit", "list_checkpoints", "list_recipes", "load", "score"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
