"""Using a checkpoint on files and arrays: embed, match, retrieve."""

from voiceface.inference.model import Match as Match
from voiceface.inference.model import Model as Model
