"""Reading the clips of a split: decoded and cut, or what a frozen network made of them before."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from voiceface.data.corpus.clips import change_speed, cut_face, cut_feature, cut_voice, jitter_face, speed_samples
from voiceface.data.corpus.index import Bundle, Index
from voiceface.data.corpus.shards import Corpus, DamagedError, Member
from voiceface.data.stream.cached_rows import FeatureRows
from voiceface.data.stream.sampling import Sampling
from voiceface.utils.errors import UserError
from voiceface.utils.seeds import seeded

Batch = dict[str, Any]
OnError = Literal["skip", "stop"]


class Reading(Dataset[Batch]):
    """What all streams over a split share.

    Args:
        corpus: The corpus.
        split: Its split.
        bundles: Bundles to read.
        sampling: How clips are cut.
        on_error: What to do about a damaged clip.

    Attributes:
        cached: For `voices`, `faces` or both: their outputs of a frozen network, which are read instead of the clips.
            Set before the first batch is read.
    """

    def __init__(
        self, corpus: Corpus, split: str, bundles: Sequence[Bundle], sampling: Sampling, on_error: OnError
    ) -> None:
        self.corpus, self.split, self.sampling, self.on_error = corpus, split, sampling, on_error
        self.bundles = Index.of(bundles)
        self.features: dict[str, Any] | None = corpus.description.get("features")
        self.cached: Mapping[str, FeatureRows] = {}

    def __getitem__(self, which: Any) -> Batch:
        """One batch, with the kinds of clips that are cached outputs; or what stops the run, as text."""
        try:
            batch = self._batch(which)
        except DamagedError as error:
            return {"error": str(error)}
        except UserError as error:
            return {"mistake": str(error)}
        return {**batch, "given": sorted(self.cached)} if self.cached else batch

    def _batch(self, which: Any) -> Batch:
        raise NotImplementedError

    def _skip(self, error: DamagedError, skipped: list[str], clips: int = 1) -> None:
        """Note what is left out, or stop."""
        if self.on_error == "stop":
            raise error
        skipped += [str(error)] * clips

    def _stored(self, kind: str, bundle: Bundle, member: Member) -> NDArray[np.float32] | None:
        """A network's output that stands for a clip, cached or of a corpus of features; None where there is none."""
        what = f"{kind[:-1]} {member.key}"
        if kind in self.cached:
            rows = self.cached[kind]
            try:
                return rows[member.key]
            except KeyError:
                raise DamagedError(
                    f"{self.split}/{bundle.shard}: {what} was damaged when the features in {rows.folder} were computed "
                    "(repaired since? delete that folder)"
                ) from None
            except OSError as error:
                raise DamagedError(f"{rows.folder}: {what} cannot be read ({error})") from None
        if self.features is None:
            return None
        data = self.corpus.read(self.split, bundle, member.offset, member.bytes)
        try:
            return cut_feature(data, self.features[kind]["dim"], self.features["dtype"])
        except ValueError as error:
            raise DamagedError(f"{self.split}/{bundle.shard}: {what} is damaged ({error})") from None

    def _face(self, bundle: Bundle, face: Member, rng: np.random.Generator | None) -> NDArray[Any]:
        if (stored := self._stored("faces", bundle, face)) is not None:
            return stored
        s = self.sampling
        data = self.corpus.read(self.split, bundle, face.offset, face.bytes)
        try:
            image = cut_face(data, self.corpus.face_size, self.corpus.face_margin, s.face_size, s.face_margin)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DamagedError(f"{self.split}/{bundle.shard}: face {face.key} is damaged ({error})") from None
        if rng is None:
            return image
        if s.flip and rng.random() < 0.5:
            image = image[:, ::-1]
        if s.face_jitter:
            brightness, saturation = rng.uniform(1 - s.face_jitter, 1 + s.face_jitter, 2)
            image = jitter_face(image, brightness, saturation)
        return image

    def _voice(
        self, bundle: Bundle, voice: Member, rng: np.random.Generator | None, samples: int | None = None
    ) -> NDArray[Any]:
        if (stored := self._stored("voices", bundle, voice)) is not None:
            return stored
        data = self.corpus.read(self.split, bundle, voice.offset, voice.bytes)
        percent = 100
        if rng is not None and self.sampling.voice_speed:
            change = round(100 * self.sampling.voice_speed)
            percent += int(rng.integers(-change, change, endpoint=True))
        try:
            if samples is None:
                return cut_voice(data, None, None)
            return change_speed(cut_voice(data, speed_samples(samples, percent), rng), percent, samples)
        except (soundfile.SoundFileError, ValueError, MemoryError) as error:  # a header may promise years of sound
            raise DamagedError(f"{self.split}/{bundle.shard}: voice {voice.key} is damaged ({error})") from None

    def _random(self, member: Member, epoch: int, nth: int) -> np.random.Generator | None:
        """Draws a training clip's crop and changes: each time others, or always the same (`Sampling.fixed`)."""
        kind = "voices" if member.name.startswith("v") else "faces"
        if self.features is not None or kind in self.cached:
            return None  # nothing is drawn for a feature
        if kind == "faces" and not (self.sampling.flip or self.sampling.face_jitter):
            return None  # nor for a face as it is; generators take time
        drawn = ("fixed", member.key) if kind in self.sampling.fixed else (epoch, member.key, nth)
        return np.random.default_rng(seeded(self.sampling.seed, *drawn))
