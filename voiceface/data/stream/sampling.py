"""What a training batch holds, and how its clips are cut and changed."""

from dataclasses import dataclass

import numpy as np

from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.seeds import seeded


@dataclass(frozen=True)
class Sampling:
    """What a batch holds and how its clips are cut.

    Args:
        people: P, identities in a training batch of one rank.
        voices: Voices per identity.
        faces: Faces per identity.
        voice_seconds: Length of the training crop; shorter voices are repeated.
        face_size: Side of the faces that the encoder takes, pixels.
        face_margin: Face box scale that the encoder takes.
        flip: Mirror half of the training faces.
        seed: Seed of order, crops and augmentations.
        voice_seconds_max: Where given, the crops of a batch have one random length from `voice_seconds` to this.
        voice_speed: Largest change of a training voice's speed, as a share of it, in hundredths.
        face_jitter: Largest change of a training face's brightness and saturation, as a share of them.
        same_video: Take a person's clips of a batch from one video.
        fixed: `voices`, `faces` or both, where a clip is always cut and changed alike: as seed and key say.
    """

    people: int
    voices: int
    faces: int
    voice_seconds: float
    face_size: int
    face_margin: float
    flip: bool
    seed: int
    voice_seconds_max: float | None = None
    voice_speed: float = 0.0
    face_jitter: float = 0.0
    same_video: bool = False
    fixed: tuple[str, ...] = ()

    def voice_samples(self, epoch: int, step: int) -> int:
        """Length of the voices of one training batch, the same on all ranks, samples."""
        least = round(self.voice_seconds * SAMPLE_RATE)
        if self.voice_seconds_max is None:
            return least
        rng = np.random.default_rng(seeded(self.seed, "length", epoch, step))
        return int(rng.integers(least, round(self.voice_seconds_max * SAMPLE_RATE), endpoint=True))
