"""Lay out folders as VoxCeleb and VGGFace are downloaded, with all their quirks and made-up media, or listings only.

The quirks: names with dots, quotes and full stops at the end; video ids that start with `-` or hold `_`; people without
faces; two test people of VoxCeleb2 without sound; VGGFace2 ids whose digits are not those of the VoxCeleb2 id; VGGFace2
people who are not in VoxCeleb. The tables of people are made up too, in the official dialects; with VOICEFACE_TEST_DATA
(a folder with `voxceleb/vox1_meta.csv` and so on) they are the real ones.

    python -m benchmarks.data.voxceleb_tree OUT [--people1 20] [--people2 20] [--voices 3] [--faces 3]
    python -m benchmarks.data.voxceleb_tree OUT --listings --full     # every file of Vox-VGG-1 and Vox-VGG-2 as a line
"""

import base64
import csv
import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import parser
from benchmarks.data.media import write_voice
from voiceface.data.prepare.voxceleb.metadata import META, read_metadata

DATA = Path(os.environ["VOICEFACE_TEST_DATA"]) if os.environ.get("VOICEFACE_TEST_DATA") else None
TREES = ("voxceleb1", "voxceleb2", "unzippedFaces", "vggface1", "vggface2")
PEOPLE = {1: 1251, 2: 6114}
FULL = {
    "voxceleb1": 153_516,
    "voxceleb2": 1_128_246,
    "unzippedFaces": 573_283,
    "vggface1": 573_283,
    "vggface2": 1_905_016,
}
STRANGERS = 3_017  # VGGFace2's other people
SILENT = ("id04170", "id05348")  # of VoxCeleb2
QUIRKS = ("A.B._Example{}", "Bo_O'Sample{}", 'Cy_"Q"_Case{}', "Di_Sample{}_Jr.", "Ed-Case{}", "Fay_Example{}")


@dataclass(frozen=True)
class Row:
    """One person of the metadata; `heard` and `seen`: there are voices, VGGFace pictures."""

    identity: str
    face: str
    gender: str
    nationality: str
    official_set: str
    pins: str = ""
    heard: bool = True
    seen: bool = True


def made_up_1(count: int) -> list[Row]:
    """People of VoxCeleb1."""
    rows = []
    for i in range(count):
        name = QUIRKS[i % len(QUIRKS)].format(i)
        if i >= len(QUIRKS):  # the splits go by the first letter
            name = chr(ord("A") + i % 26) + name[1:]
        label = "142"[i % 3] if i < 6 else "1" if i % 10 < 7 else "2" if i % 10 < 8 else "4"
        traits = "mf"[i % 2], ("USA", "India")[i % 2], "test" if i % 30 == 4 else "dev"
        rows.append(Row(f"id1{i + 1:04d}", name, *traits, label, seen=i % 48 != 7))
    return rows


def made_up_2(count: int) -> list[Row]:
    """People of VoxCeleb2: the first two are silent, and of five people one has the digits of his id."""
    rows = []
    for i in range(count):
        face = f"n{i + 12 + (0, 1, 1, 1, -3)[i % 5]:06d}"
        official = "test" if i % 50 < 2 or i % 7 == 5 else "dev"
        rows.append(Row(f"id{i + 12:05d}", face, "mf"[i % 2], "", official, heard=i > 1))
    return rows


def official(data: Path, dataset: int) -> list[Row]:
    """The people of the official tables."""
    folder = data / "voxceleb"
    pins = dict(line.split() for line in (folder / "splits/pins_identity_splits.txt").read_text("utf-8").splitlines())
    lacking = {*SILENT}
    for split in ("train", "val", "test"):
        with (folder / f"splits/vox1_{split}.csv").open(encoding="utf-8-sig") as file:
            lacking |= {row["VoxCeleb1_ID"] for row in csv.DictReader(file) if row["Set"] == "none"}
    rows = []
    for p in read_metadata(folder / META[dataset], dataset):
        traits, there = p.attributes, p.identity not in lacking
        named = p.identity, p.face, traits["gender"], traits.get("nationality", ""), p.official_set
        rows.append(Row(*named, pins.get(p.face, ""), **{"seen" if dataset == 1 else "heard": there}))
    return rows


def files(tree: str, rows: list[Row], total: int) -> Iterator[str]:
    """Paths of a tree: so many over all people, the same number of each."""
    voices = tree.startswith("voxceleb")
    rows = [row for row in rows if (row.heard if voices else row.seen or tree == "unzippedFaces")]
    for place, row in enumerate(rows):
        number = total // len(rows) + (place < total % len(rows))
        for i in range(number):
            video = video_id(row.identity, i // 8)
            part = "test" if place % 18 == 0 else "train"
            yield {
                "voxceleb1": f"{row.official_set}/wav/{row.identity}/{video}/{i % 8 + 1:05d}.wav",
                "voxceleb2": f"{row.official_set}/aac/{row.identity}/{video}/{i % 8 + 1:05d}.m4a",
                "unzippedFaces": f"{row.face}/1.6/{video}/{25 * (i % 8 + 1):07d}.jpg",
                "vggface1": f"{row.face}/{i + 1:08d}.jpg",
                "vggface2": f"{part}/{row.face}/{i // 2 + 1:04d}_{i % 2 + 1:02d}.jpg",
            }[tree]
    if tree == "vggface2":
        for stranger in range(STRANGERS if total > 100_000 else 2):
            yield f"train/n{900_000 + stranger:06d}/0001_01.jpg"


def video_id(identity: str, number: int) -> str:
    """A video id of 11 characters; a person's first starts with `-`, the second holds `_`."""
    digest = hashlib.blake2b(f"{identity}/{number}".encode(), digest_size=9).digest()
    video = base64.urlsafe_b64encode(digest).decode()[:11]
    return f"-{video[1:]}" if number == 0 else f"{video[:4]}_{video[5:]}" if number == 1 else video


def write_tables(out: Path, ones: list[Row], twos: list[Row]) -> None:
    """The metadata in two of the official dialects, and PINs' split."""
    out.mkdir(parents=True, exist_ok=True)
    lines = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    lines += [f"{r.identity}\t{r.face}\t{r.gender}\t{r.nationality}\t{r.official_set}" for r in ones]
    (out / "vox1_meta.csv").write_text("\n".join(lines) + "\n", "utf-8")
    lines = ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "]
    lines += [f"{r.identity} ,{r.face} ,{r.gender} ,{r.official_set} " for r in twos]
    (out / "vox2_meta.csv").write_text("\r\n".join(lines) + "\r\n", "utf-8-sig")
    (out / "identity_splits.txt").write_text("".join(f"{r.face} {r.pins} \n" for r in ones), "utf-8")


def lay_out(
    out: Path,
    people1: int,
    people2: int,
    voices: int | None = None,
    faces: int | None = None,
    data: Path | None = None,
    media: bool = True,
) -> None:
    """Write the tables and all five trees.

    Args:
        out: Folder.
        people1: VoxCeleb1's people.
        people2: VoxCeleb2's people.
        voices: Voices per person; None: as many as the official data have.
        faces: Faces per person; likewise.
        data: Folder with the real tables; None: made-up people.
        media: False: instead of media one listing `files.txt` in each tree.
    """
    ones = (official(data, 1) if data else made_up_1(people1))[:people1]
    twos = (official(data, 2) if data else made_up_2(people2))[:people2]
    write_tables(out, ones, twos)
    for tree in TREES:
        rows = twos if tree.endswith("2") else ones
        each = voices if tree.startswith("voxceleb") else faces
        paths = files(tree, rows, FULL[tree] if each is None else each * sum(r.heard for r in rows))
        if media:
            for path in paths:
                target = out / tree / path
                target.parent.mkdir(parents=True, exist_ok=True)
                write_media(target, zlib.crc32(path.encode()))
        else:
            (out / tree).mkdir(parents=True, exist_ok=True)
            with (out / tree / "files.txt").open("w", encoding="utf-8") as listing:
                listing.writelines(f"./{path}\n" for path in paths)


def write_media(target: Path, seed: int) -> None:
    """A second of a harmonic tone, or a picture of 48 px."""
    rng = np.random.default_rng(seed)
    if target.suffix == ".jpg":
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((48, 48)).save(target)
        return
    time = np.arange(16_000) / 16_000
    wave = sum(np.sin(2 * np.pi * rng.uniform(90, 250) * k * time) / k for k in (1, 2, 3)) / 4
    write_voice(target, 32767 * wave)


def main() -> None:
    defaults = {"people1": 20, "people2": 20, "voices": 3, "faces": 3, "listings": False, "full": False}
    made = parser(__doc__, **defaults)
    made.add_argument("out", type=Path, help="folder")
    options = made.parse_args()
    people = (PEOPLE[1], PEOPLE[2]) if options.full else (options.people1, options.people2)
    clips = () if options.full else (options.voices, options.faces)
    lay_out(options.out, *people, *clips, data=DATA, media=not options.listings)


if __name__ == "__main__":
    main()
