"""The pictures of a leaderboard's page: faces of ranked examples, maps of embeddings."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.compare.table import Group

if TYPE_CHECKING:
    from voiceface.data.corpus.shards import Corpus

SIDE = 64  # of a shown face, pixels


Faces = Callable[[str], bytes | None]


def faces_of(group: Group) -> Faces | None:
    """Find the faces of a group's clips, where they may be shown and are at hand.

    They may be where the corpus is synthetic, and are at hand where the built-in corpus, of the version that was
    scored, is in the cache. Nothing is built or fetched.

    Args:
        group: Its `data` says what was scored.

    Returns:
        A function from a clip's key to a small JPEG, or None where there is no such face; None: no face can be shown.
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
                return _faces(corpus, str(group.data["split"]))
        except (UserError, DamagedError):  # unfinished, damaged, or of another schema
            continue
    return None


def _faces(corpus: "Corpus", split: str) -> Faces:
    from voiceface.data.corpus.shards import DamagedError

    places = {
        member.key: (bundle, member.offset, member.bytes)
        for bundle in corpus.index(split)
        for member in corpus.members(split, bundle)[1]
    }

    def face(key: str) -> bytes | None:
        if key not in places:
            return None
        try:
            return shrunk(corpus.read(split, *places[key]), SIDE)
        except (DamagedError, OSError):
            return None

    return face


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
