"""The official folders of voices and faces: which file is whose, and which clip.

Nothing is opened here. A file is used where its path has exactly the official form, so no path can lead elsewhere.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from voiceface.data.corpus.bundles import Reject
from voiceface.data.prepare.sources.people import Source
from voiceface.data.prepare.sources.walk import printable, unprintable
from voiceface.utils.errors import UserError
from voiceface.utils.progress import new_bar

FRAMES_PER_SECOND = 25  # of the videos behind VoxCeleb1's crops, which are every 25th frame
REPORT_EVERY = 10_000
# Any folders above, but none that leads up; no control characters, nothing that is not UTF-8.
NAME = r"[^/\x00-\x1f\x7f\ud800-\udfff]"
FOLDER = rf"(?!\.\.?/){NAME}+"
ABOVE = rf"(?:{FOLDER}/)*?"
VIDEO = r"[0-9A-Za-z_-]{11}"
VOICE_END, FACE_END = r"\.(?i:wav|flac|m4a|aac|mp3|ogg|opus)", r"\.(?i:jpe?g|png)"
KNOWN_END = re.compile(f".*(?:{VOICE_END}|{FACE_END})", re.DOTALL)


@dataclass(frozen=True)
class Layout:
    """How one official tree is laid out.

    Attributes:
        kind: voice or face.
        dataset: The VoxCeleb whose people it shows, 1 or 2.
        form: What its paths look like; the first group is the folder of the person, the second the clip.
        example: The same for people.
    """

    kind: str
    dataset: int
    form: re.Pattern[str]
    example: str


def _voices(dataset: int, example: str) -> Layout:
    return Layout("voice", dataset, re.compile(rf"{ABOVE}(id\d{{5}})/({VIDEO}/\d{{5}}){VOICE_END}"), example)


LAYOUTS = {
    "voxceleb1": _voices(1, "wav/id10001/<video>/00001.wav"),
    "voxceleb2": _voices(2, "dev/aac/id00012/<video>/00001.m4a"),
    "faces1": Layout(
        "face",
        1,
        re.compile(rf"{ABOVE}({FOLDER})/1\.6/({VIDEO}/\d{{1,9}}){FACE_END}"),
        "unzippedFaces/<Name>/1.6/<video>/0000025.jpg",
    ),
    "vggface1": Layout("face", 1, re.compile(rf"{ABOVE}({FOLDER})/((?!\.){NAME}+){FACE_END}"), "<Name>/00000001.jpg"),
    "vggface2": Layout("face", 2, re.compile(rf"{ABOVE}(n\d{{6}})/(\d+_\d+){FACE_END}"), "train/n000001/0001_01.jpg"),
}


@dataclass(frozen=True)
class Tree:
    """What lies in one tree.

    Attributes:
        name: Key of `LAYOUTS`, which is also the option's name.
        root: The folder, absolute.
        files: VoxCeleb id to the paths below the root, in order, joined by line ends: three million paths in one string
            per person take a third of the memory that they take one by one.
    """

    name: str
    root: str
    files: dict[str, str] = field(default_factory=dict)


def read_tree(name: str, place: Path, owners: Callable[[str], str | None], rejects: list[Reject]) -> Tree:
    """Find the files of one official tree, in its folder or in a listing.

    A listing is a text file with one path per line, relative to the folder that the listing lies in: what
    `cd FOLDER && find . -type f > files.txt` writes.

    Args:
        name: Key of `LAYOUTS`.
        place: The folder, or the listing.
        owners: The VoxCeleb id of a person's folder; None where the folder is nobody's of this data set.
        rejects: Grows by what is left out. A folder that is nobody's is one row; files that are neither sound nor
            picture, and hidden ones, are none.

    Raises:
        UserError: There is neither folder nor listing, or nothing of the official form in it.
    """
    layout = LAYOUTS[name]
    if not place.exists():
        raise UserError(f"--{name} {place}: no such folder; give the folder of {layout.example}, or a listing of it")
    root = place if place.is_dir() else place.parent
    found: dict[str, list[str]] = defaultdict(list)
    refused = len(rejects)
    match = layout.form.fullmatch
    with new_bar() as bar:
        task = bar.add_task(f"looking at --{name}", total=None)
        for number, path in enumerate(_walk(place, rejects) if place.is_dir() else _listed(place)):
            if number % REPORT_EVERY == 0:
                bar.update(task, completed=number)
            if fits := match(path):
                found[fits[1]].append(path)
            elif reason := _refusal(path):
                rejects.append(Reject(printable(path), "collect", reason))
    tree = Tree(name, str(root.absolute()))
    for folder in sorted(found):
        paths = found.pop(folder)
        identity = owners(folder)
        if identity is None:
            rejects.append(Reject(f"{folder}/", "collect", f"--{name}: a folder of nobody in the metadata"))
            continue
        if identity in tree.files:  # `Name.` and `Name` are one person
            paths += tree.files[identity].split("\n")
        tree.files[identity] = "\n".join(_one_of_each(layout, paths, rejects))
    if not tree.files:
        first = rejects[refused : refused + 1]
        why = "".join(f"; the first file left out is {reject.path}: {reject.reason}" for reject in first)
        raise UserError(f"--{name} {place}: holds nothing such as {layout.example}{why}")
    return tree


def sources(tree: str, root: str, identity: str, paths: str) -> Iterator[Source]:
    """The files of one person, with the keys that the official lists know them by (`voiceface.scores.clip_keys`).

    The time of a face of VoxCeleb1's crops is its frame's number by 25 frames per second.

    Args:
        tree: Key of `LAYOUTS`.
        root: The tree's folder.
        identity: VoxCeleb id.
        paths: Paths below the root, joined by line ends.
    """
    layout = LAYOUTS[tree]
    for path in paths.split("\n"):
        fits = layout.form.fullmatch(path)
        assert fits is not None, path
        video, slash, frame = fits[2].partition("/")
        time = int(frame) / FRAMES_PER_SECOND if tree == "faces1" else None
        yield Source(path, f"{identity}/{layout.kind}/{fits[2]}", video if slash else "", time, root)


def leads_out(source: Source) -> bool:
    """Whether a file is, or lies below, a link that leads out of its tree."""
    root = os.path.realpath(source.root)
    return os.path.commonpath([root, os.path.realpath(os.path.join(source.root, source.path))]) != root


def _walk(root: Path, rejects: list[Reject]) -> Iterator[str]:
    """Paths of the files below a folder. Links to folders are not followed, but reported."""
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(root / here) as entries:
                for entry in entries:
                    path = here + entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path + "/")
                    elif entry.is_dir():
                        rejects.append(Reject(printable(path), "collect", "link to a folder; give the folder itself"))
                    else:
                        yield path
        except OSError as error:
            rejects.append(Reject(printable(here), "collect", f"folder cannot be read ({error.strerror})"))


def _listed(listing: Path) -> Iterator[str]:
    """Lines of a listing without the `./` of `find`, without those of hidden files."""
    try:
        with listing.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            for line in lines:
                path = line.rstrip("\r\n").removeprefix("./")
                if (path and not path.startswith(".")) or path.startswith("../"):
                    yield path
    except OSError as error:
        raise UserError(f"{listing}: cannot be read ({error.strerror}); give a folder or a listing") from None


def _refusal(path: str) -> str:
    """Why a path that has not the official form is left out; empty where it is of no concern."""
    if path.startswith("/"):
        return "absolute path"
    if ".." in path.split("/"):
        return "path leads out of the folder"
    if PurePosixPath(path).name.startswith(".") or not KNOWN_END.fullmatch(path):
        return ""
    return unprintable(path) or "not in the official layout"


def _one_of_each(layout: Layout, paths: Sequence[str], rejects: list[Reject]) -> list[str]:
    """Paths in order; of two files of one clip, such as 00001.m4a and its 00001.wav, the first."""
    paths = sorted(paths)
    clips = [fits[2] for fits in map(layout.form.fullmatch, paths) if fits]
    if len(set(clips)) == len(clips):
        return paths
    first = dict(reversed(list(zip(clips, paths, strict=True))))
    rejects += [Reject(p, "collect", "another file of the same clip") for p in paths if p not in set(first.values())]
    return sorted(first.values())


def count(paths: Iterable[str]) -> int:
    """The number of paths in strings that join them by line ends."""
    return sum(text.count("\n") + 1 for text in paths if text)
