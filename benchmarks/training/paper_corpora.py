"""How many clips the papers' corpora hold; what is not published is computed from what is."""

from dataclasses import dataclass

from voiceface.data.prepare.voxceleb.report import BYTES
from voiceface.data.prepare.voxceleb.report import SECONDS as OF_ONE

# VoxCeleb1 has 153,516 utterances of 1,251 people, 573,283 VGGFace pictures of them; its utterances last about 8 s, and
# its crops are one a second.
UTTERANCES, PICTURES, CROPS = 153_516 / 1251, 573_283 / 1251, 8


@dataclass(frozen=True)
class Split:
    """Clips of a split.

    Args:
        voices: Utterances.
        faces: Pictures.
    """

    voices: int
    faces: int


@dataclass(frozen=True)
class Corpus:
    """Clips of a corpus.

    Args:
        train: Training people's.
        val: Validation people's.
        test: Test people's.
        vad: Speech detector that prepares it; empty: none.
    """

    train: Split
    val: Split
    test: Split
    vad: str = ""

    @property
    def voices(self) -> int:
        return self.train.voices + self.val.voices + self.test.voices

    @property
    def faces(self) -> int:
        return self.train.faces + self.val.faces + self.test.faces

    def gigabytes(self) -> float:
        """Size, as `voiceface prepare voxceleb --dry-run` estimates it; 1e9 bytes."""
        return (self.voices * BYTES["voice"] + self.faces * BYTES["face"]) / 1e9

    def core_hours(self) -> float:
        """Hours of one core to prepare it, likewise."""
        voice = OF_ONE["voice"] + (OF_ONE[self.vad] if self.vad else 0.0)
        return (self.voices * voice + self.faces * OF_ONE["detect"]) / 3600


def crops(voices: int) -> Split:
    return Split(voices, CROPS * voices)


def people(number: int, crops: bool, pictures: bool) -> Split:
    """So many average people of VoxCeleb1, with its crops, with VGGFace1's pictures, or both."""
    voices = number * UTTERANCES
    return Split(round(voices), round(voices * CROPS * crops + number * PICTURES * pictures))


CORPORA = {
    "pins, drl": Corpus(crops(105_600), crops(12_734), crops(30_496)),  # the published numbers of face tracks
    "svhf": Corpus(people(924, True, True), people(112, True, True), people(189, True, True)),
    "dimnet": Corpus(people(924, False, True), people(112, False, True), people(189, False, True), "webrtc"),
    "kim": Corpus(people(951, True, False), people(50, True, False), people(250, True, False)),
    # 118 people of VoxCeleb2's test with as many pictures as its training people have on average.
    "trinet": Corpus(
        Split(1_092_009, 1_905_016), Split(36_237, round(118 * 1_905_016 / 5994)), Split(153_516, 573_283)
    ),
}


def corpus_of(recipe: str) -> str:
    """The corpus in CORPORA that a recipe's paper has; another word where its size is not known."""
    method = recipe.split("_")[0]
    return "pins, drl" if method in ("pins", "drl") else method
