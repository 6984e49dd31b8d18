"""The corpus on disk: WebDataset shards of one-identity bundles, an index beside them, and an identity table.

`index.csv` of a split says where each bundle (`voiceface.data.corpus.bundles`) starts, so that any bundle is read
without reading the shard before it.
"""

import csv
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

from voiceface.data.corpus.bundles import BLOCK, padded
from voiceface.data.corpus.index import Bundle, Index, read_index
from voiceface.data.corpus.remote import cache_limit, fetch, read_remote
from voiceface.utils.errors import UserError

SCHEMA = 1
SPLITS = ("train", "val", "test")


class Member(NamedTuple):
    """One voice or face of a bundle that was opened: its metadata and the place of its bytes."""

    key: str
    name: str
    bytes: int
    offset: int
    video: str = ""
    time: float | None = None
    source: str = ""
    observed: tuple[float, ...] | None = None
    landmarks: tuple[float, ...] | None = None


class DamagedError(Exception):
    """A shard or member that cannot be read; the message names it."""


class Corpus:
    """A corpus on disk or behind any fsspec address (`https://`, `s3://`, `hf://`; see `voiceface.data.corpus.remote`).

    Args:
        root: Folder or address that holds `corpus.json`.

    Attributes:
        remote: Whether it is behind an address.
        files: Every file that `corpus.json` vouches for, by its name such as `train/000000.tar`: its sha256, and its
            bytes where they are known.
        name: Name of the corpus.
        face_size: Side of the stored faces, pixels.
        face_margin: How many times the face box the stored faces show.

    Raises:
        UserError: `root` is missing, is not a corpus, is unfinished, has another schema, or names files outside itself.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root).removeprefix("file://").rstrip("/")
        self.remote = "://" in self.root
        if re.match(r"^(pipe|fd):", self.root):
            raise UserError(
                f"--data {self.root}: addresses that run commands are refused; give a folder or an https, "
                "s3 or hf address"
            )
        try:
            described = json.loads(self._read_description())
        except FileNotFoundError:
            raise UserError(self._what_is_missing()) from None
        except UserError:
            raise
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(f"--data {self.root}: corpus.json cannot be read ({error})".splitlines()[0]) from None
        if not isinstance(described, dict) or "schema" not in described:
            raise UserError(f"--data {self.root}: corpus.json does not describe a corpus; prepare it again")
        if described["schema"] != SCHEMA:
            raise UserError(
                f"--data {self.root}: corpus.json has schema {described['schema']}, this version reads "
                f"{SCHEMA}; prepare it again"
            )
        missing = {"name", "plan", "splits", "identities_sha256", "face_size", "face_margin"} - described.keys()
        if missing:
            raise UserError(f"--data {self.root}: corpus.json lacks {', '.join(sorted(missing))}; prepare it again")
        self.description: dict[str, Any] = described
        try:
            self.name, self.face_size, self.face_margin = _name_and_faces(described)
            self.files = _described_files(described)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"--data {self.root}: corpus.json is damaged ({error}); prepare it again") from None

    def _read_description(self) -> bytes:
        return read_remote(self.root, "corpus.json") if self.remote else (Path(self.root) / "corpus.json").read_bytes()

    def _what_is_missing(self) -> str:
        if self.remote:
            return f"--data {self.root}: not a corpus (no corpus.json there); check the address"
        folder = Path(self.root)
        if Path(f"{self.root}.partial").exists():
            return f"--data {self.root}: its preparation is unfinished; run the same `voiceface prepare` command again"
        if not folder.exists():
            return f"--data {self.root}: no such folder; make a corpus with `voiceface prepare`"
        return (
            f"--data {self.root}: not a corpus (no corpus.json); "
            f"make one with `voiceface prepare folder {self.root} OUT`"
        )

    @property
    def version(self) -> str:
        """Hash of the whole content: of the identity table and every shard."""
        shards = [shard["sha256"] for split in SPLITS for shard in self.description["splits"][split]["shards"]]
        return hashlib.sha256("\n".join([self.description["identities_sha256"], *shards]).encode()).hexdigest()

    @cached_property
    def identities(self) -> dict[str, dict[str, str]]:
        """Identity table: identity to its split and attributes; an empty string is an unknown value."""
        try:
            table = csv.DictReader(io.StringIO(self._content("identities.csv").decode()))
        except UnicodeDecodeError:
            table = csv.DictReader(())
        if not {"identity", "split"} <= set(table.fieldnames or ()):
            raise UserError(f"--data {self.root}: identities.csv is damaged; run `voiceface check {self.root}`")
        return {row.pop("identity"): row for row in table}

    def index(self, split: str) -> Index:
        """Read the index of a split.

        Args:
            split: `train`, `val` or `test`.

        Returns:
            Its bundles, in the order of the shards.

        Raises:
            UserError: The corpus has no such split, its index is damaged, or the split is remote and larger than the
                cache may be.
        """
        if not self.description["splits"].get(split, {}).get("shards"):
            there = ", ".join(s for s, d in self.description["splits"].items() if d["shards"])
            raise UserError(
                f"--data {self.root}: no {split} split (there are: {there or 'none'}); give these identities a split"
            )
        shards = {shard["name"]: shard["bytes"] for shard in self.description["splits"][split]["shards"]}
        if self.remote and (size := sum(shards.values())) > cache_limit():
            # Training reads shards in no order, so a smaller cache would fetch each of them again and again.
            raise UserError(
                f"--data {self.root}: the {split} split takes {size / 1e9:.1f} GB, the cache may hold "
                f"{cache_limit() / 1e9:g}; set VOICEFACE_CACHE_GB higher, or copy the corpus into a folder"
            )
        content = self._content(f"{split}/index.csv")  # outside: a UserError is a ValueError too
        try:
            index = read_index(content)
            unknown = next((name for name in index.shards if name not in shards), None)
        except ValueError:
            unknown = "values of another kind"
        if unknown is not None:
            raise UserError(
                f"--data {self.root}: {split}/index.csv is damaged (it names {unknown!r}); run `voiceface check` on it"
            )
        return index

    def _content(self, name: str) -> bytes:
        try:
            return self._bytes(name)
        except FileNotFoundError:
            raise UserError(f"--data {self.root}: {name} is missing; run `voiceface check {self.root}`") from None

    def path(self, name: str) -> Path:
        """Where a file of the corpus lies on this machine; one of a remote corpus is fetched into the cache.

        Args:
            name: One of `files`.

        Raises:
            UserError: A remote file cannot be fetched, or is not what `corpus.json` says.
        """
        return fetch(self.root, name, *self.files[name]) if self.remote else Path(self.root) / name

    def _bytes(self, name: str, start: int = 0, size: int = -1) -> bytes:
        try:
            file = self._open(name)
        except FileNotFoundError:
            if not self.remote:
                raise
            file = self._open(name)  # another process made room in the cache just then
        with file:
            file.seek(start)
            return file.read(size)

    def _open(self, name: str) -> IO[bytes]:
        # Not by way of pathlib, which takes as long as opening and reading; training opens a file for every clip.
        return open(self.path(name) if self.remote else f"{self.root}/{name}", "rb")

    def read(self, split: str, bundle: Bundle, offset: int, size: int) -> bytes:
        """Read bytes of a bundle.

        Args:
            split: Split of the bundle.
            bundle: Row of the index.
            offset: First byte, counted from the start of the bundle.
            size: Number of bytes.

        Raises:
            DamagedError: The shard is missing or ends too early.
        """
        name = f"{split}/{bundle.shard}"
        start = bundle.offset + offset
        try:
            data = self._bytes(name, start, size)
        except (OSError, MemoryError, OverflowError) as error:  # a header may lie about sizes
            raise DamagedError(f"{name}: cannot be read ({error})") from None
        if len(data) < size:
            raise DamagedError(f"{name}: truncated, bundle {bundle.key} needs {start + size} bytes")
        return data

    def members(self, split: str, bundle: Bundle) -> tuple[list[Member], list[Member]]:
        """Open a bundle and find its members, without reading them.

        Returns:
            Its voices and its faces.

        Raises:
            DamagedError: The bundle's header is not what the index says.
        """
        first = self.read(split, bundle, 0, min(8192, bundle.bytes))
        try:
            info = tarfile.TarInfo.frombuf(first[:BLOCK], "utf-8", "strict")
            if info.name != f"{bundle.key}.json":
                raise ValueError(f"found {info.name}")
            raw = first[BLOCK : BLOCK + info.size]
            if len(raw) < info.size:
                raw = self.read(split, bundle, BLOCK, info.size)
            described = json.loads(raw)
            if described["identity"] != bundle.identity:
                raise ValueError(f"holds identity {described['identity']}")
            offsets, offset = {}, padded(info.size)
            for member in sorted(described["voices"] + described["faces"], key=lambda m: str(m["name"])):
                if type(member["bytes"]) is not int or member["bytes"] < 0:
                    raise ValueError(f"{member['name']} is {member['bytes']!r} bytes")
                offsets[member["name"]] = offset + BLOCK
                offset += padded(member["bytes"])
            if offset != bundle.bytes:
                raise ValueError(f"is {offset} bytes, not {bundle.bytes}")
            voices, faces = ([_member(m, offsets[m["name"]]) for m in described[kind]] for kind in ("voices", "faces"))
        except (tarfile.HeaderError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"{split}/{bundle.shard}: bundle {bundle.key} is damaged ({error})") from None
        return voices, faces

    def clips(self, split: str) -> Iterator[tuple[Bundle, Member, bytes]]:
        """Read a whole split, shard after shard: every member with its bytes.

        Raises:
            DamagedError: A bundle is damaged.

        Example:
            >>> import io, soundfile
            >>> from PIL import Image
            >>> for bundle, clip, content in Corpus("corpus").clips("test"):
            ...     if clip.name.endswith(".flac"):
            ...         wave, rate = soundfile.read(io.BytesIO(content), dtype="int16")
            ...     else:
            ...         face = Image.open(io.BytesIO(content))
            >>> bundle.identity, clip.key, rate, face.mode
            ('p011', 'p011/f00', 16000, 'RGB')
        """
        for bundle in self.index(split):
            voices, faces = self.members(split, bundle)
            for member in voices + faces:
                yield bundle, member, self.read(split, bundle, member.offset, member.bytes)


def _described_files(described: Mapping[str, Any]) -> dict[str, tuple[str, int | None]]:
    """The files of a corpus; their names become paths and addresses, so they may hold nothing that leads elsewhere."""
    files: dict[str, tuple[str, int | None]] = {"identities.csv": (described["identities_sha256"], None)}
    for split in SPLITS:
        content = described["splits"][split]
        files[f"{split}/index.csv"] = (content["index_sha256"], None)
        for shard in content["shards"]:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", shard["name"]):
                raise ValueError(f"a shard is called {shard['name']!r}")
            if type(shard["bytes"]) is not int or shard["bytes"] < 0:
                raise ValueError(f"shard {shard['name']} has {shard['bytes']!r} bytes")
            files[f"{split}/{shard['name']}"] = (shard["sha256"], shard["bytes"])
    for name, (sha256, _) in files.items():
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"{name} has the sha256 {sha256!r}")
    return files


def _name_and_faces(described: Mapping[str, Any]) -> tuple[str, int, float]:
    """Name, size and margin of the faces, unless the name is no text, or no picture has such a size."""
    name, size, margin = (described[key] for key in ("name", "face_size", "face_margin"))
    if not isinstance(name, str):
        raise ValueError("its name is no text")
    if type(size) is not int or not 0 < size < 2**16 or type(margin) not in (int, float) or not 0 < margin < 100:
        raise ValueError(f"its faces have {size!r} pixels and the margin {margin!r}")
    return name, size, float(margin)


def _member(described: Mapping[str, Any], offset: int) -> Member:
    get = described.get
    observed, landmarks = get("observed"), get("landmarks")
    key, name, video, source = described["key"], described["name"], get("video", ""), get("source", "")
    if not (isinstance(key, str) and isinstance(name, str) and isinstance(video, str) and isinstance(source, str)):
        raise TypeError(f"{key!r} has a name, a video or a source that is no text")
    return Member(
        key,
        name,
        described["bytes"],
        offset,
        video,
        get("time"),
        source,
        None if observed is None else tuple(observed),
        None if landmarks is None else tuple(landmarks),
    )
