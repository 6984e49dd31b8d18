"""What a leaderboard's page shows of clips: faces, spectrograms and sounds of ranked examples, maps of embeddings."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voiceface.compare.table import Group

if TYPE_CHECKING:
    from voiceface.data.corpus.shards import Corpus

SIDE = 96  # of a shown face, pixels
SPECTROGRAM = (115, 92)  # pixels
WINDOW, HOP = 512, 128  # samples
HIGHEST = 128  # bin of the spectrogram; of 16 kHz sound 4 kHz
LOUDNESS = 60  # range of the spectrogram, dB


Clips = Callable[[str], bytes | None]


def clips_of(group: Group) -> Clips | None:
    """Find a group's clips, where they may be shown and are at hand.

    They may be where the corpus is synthetic, and are at hand where the built-in corpus, of the version that was
    scored, is in the cache. Nothing is built or fetched.

    Args:
        group: Its `data` says what was scored.

    Returns:
        A function from a clip's key to its bytes, JPEG or FLAC, or None where there is no such clip; None: no clip can
        be shown.
    """
    if not (group.data.get("synthetic") and group.data.get("split")):
        return None
    # Imported here: tables without pictures need neither.
    from voiceface.data.corpus.remote import cache_folder
    from voiceface.data.corpus.shards import Corpus, DamagedError
    from voiceface.utils.errors import UserError

    for folder in sorted(cache_folder().glob("synthetic-*")):
        try:
            corpus = Corpus(folder)
            if corpus.version == group.data.get("version"):
                return _clips(corpus, str(group.data["split"]))
        except (UserError, DamagedError):  # unfinished, damaged, or of another schema
            continue
    return None


def _clips(corpus: "Corpus", split: str) -> Clips:
    from voiceface.data.corpus.shards import DamagedError

    places = {
        member.key: (bundle, member.offset, member.bytes)
        for bundle in corpus.index(split)
        for members in corpus.members(split, bundle)
        for member in members
    }

    def clip(key: str) -> bytes | None:
        try:
            return corpus.read(split, *places[key]) if key in places else None
        except (DamagedError, OSError):
            return None

    return clip


def shown_voice(data: bytes) -> tuple[bytes, bytes]:
    """A voice to look at and to listen to.

    Args:
        data: Sound in a format of libsndfile.

    Returns:
        Its spectrogram as WebP, and the sound as MP3 of 16 kbit/s; the latter is empty where libsndfile is too old to
        write it.

    Raises:
        OSError: It is no sound.
    """
    import soundfile
    from matplotlib import colormaps
    from PIL import Image

    try:
        waveform, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise OSError(f"no sound ({error})") from None
    mono = np.pad(waveform[:, 0], (0, max(0, WINDOW - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[::HOP] * np.hanning(WINDOW)
    levels = 20 * np.log10(np.abs(np.fft.rfft(frames))[:, :HIGHEST].T[::-1] + 1e-6)
    shades = np.clip(1 + (levels - levels.max()) / LOUDNESS, 0, 1)
    image = Image.fromarray(colormaps["magma"](shades, bytes=True)).convert("RGB").resize(SPECTROGRAM)
    picture, sound = io.BytesIO(), io.BytesIO()
    image.save(picture, "WEBP", quality=50)
    try:
        soundfile.write(sound, mono, rate, format="MP3", compression_level=0.95, bitrate_mode="CONSTANT")
    except (soundfile.SoundFileError, ValueError):
        sound = io.BytesIO()
    return picture.getvalue(), sound.getvalue()


def shrunk(picture: bytes, side: int, form: str = "JPEG", quality: int = 80) -> bytes:
    """A picture whose longer side has at most so many pixels, in another format.

    Raises:
        OSError: It is no picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture), formats=("JPEG", "PNG")) as image:
            small = image.convert("RGB")
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f"no picture ({error})") from None
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, form, quality=quality)
    return buffer.getvalue()


def embeddings_picture(result: str) -> bytes | None:
    """The `embeddings.png` that lies beside a result file, as a small WebP; None where there is none."""
    path = Path(result).with_name("embeddings.png")
    try:
        return shrunk(path.read_bytes(), 640, "WEBP", 60)
    except OSError:
        return None
