"""The published splits of VoxCeleb's people into train, val and test."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from voiceface.data.corpus.shards import SPLITS
from voiceface.data.prepare.sources.tables import read_csv_rows
from voiceface.data.prepare.voxceleb.metadata import VoxPerson, aliases
from voiceface.utils.errors import UserError
from voiceface.utils.seeds import seeded

PINS_LABELS = {"1": "train", "2": "val", "4": "test"}
PINS_FILE = "identity_splits.txt"
NAMED = ("pins", "svhf", "trinet", "kim")
KIM_TRAIN = 1001
# People per split as the papers count them (VoxCeleb1; trinet: VoxCeleb2's dev set and VoxCeleb1).
PUBLISHED = {
    "pins": {"train": 901, "val": 100, "test": 250},
    "svhf": {"train": 924, "val": 112, "test": 189},
    "trinet": {"train": 5994, "test": 1251},
    "kim": {"train": 1001, "test": 250},
}


def split_people(
    split: str, people: Sequence[VoxPerson], pins_file: Path | None = None, seed: int = 0, validation: int = 0
) -> dict[str, str]:
    """Give each person of the metadata a split, whoever of them is on disk.

    Args:
        split: One of these, or a CSV with columns identity (a VoxCeleb id, VGGFace1 name or VGGFace2 id) and split.

            - `pins` (Nagrani et al. 2018, Learnable PINs; also DRL): what `identity_splits.txt` says: 1 train, 2 val,
              4 test (unseen and unheard).
            - `svhf` (Nagrani et al. 2018, Seeing Voices and Hearing Faces; also DIMNet): the first letter of the
              VGGFace1 name: A, B val; C, D, E test; the others train.
            - `trinet`: VoxCeleb2's dev people train, all of VoxCeleb1 test. The paper has no val; here it is
              VoxCeleb2's test people, who are in neither of the two.
            - `kim` (Kim et al. 2018): random, 1,001 train and 250 test. The paper's list was not published; this one is
              seeded. Of fewer than 1,251 people a share.
        people: The metadata.
        pins_file: `identity_splits.txt`, for `pins`.
        seed: Seed of `kim` and of `validation`.
        validation: So many of the training people go to val: for papers that have none, since `fit` needs one.

    Returns:
        VoxCeleb id to train, val or test. Who is not in it belongs to no split.

    Raises:
        UserError: `pins`, `svhf` or `kim` of VoxCeleb2, or a file is damaged or names somebody unknown, or `validation`
            leaves fewer than two people to train on.
    """
    found = _split(split, people, pins_file, seed)
    train = sorted((i for i, name in found.items() if name == "train"), key=lambda i: seeded(seed, "validation", i))
    if validation and not 0 < validation <= len(train) - 2:
        raise UserError(f"--validation {validation}: {len(train)} people are for training, two must be left; give less")
    return found | dict.fromkeys(train[:validation], "val")


def _split(split: str, people: Sequence[VoxPerson], pins_file: Path | None, seed: int) -> dict[str, str]:
    if split in ("pins", "svhf", "kim") and any(person.dataset == 2 for person in people):
        raise UserError(f"--split {split}: divides VoxCeleb1 alone; leave --voxceleb2 out, or give a CSV")
    if split == "pins":
        assert pins_file is not None
        return _pins(pins_file, aliases(people))
    if split == "svhf":
        letters = dict.fromkeys("AB", "val") | dict.fromkeys("CDE", "test")
        return {person.identity: letters.get(person.face[0].upper(), "train") for person in people}
    if split == "trinet":
        return {
            p.identity: "test" if p.dataset == 1 else "val" if p.official_set == "test" else "train" for p in people
        }
    if split == "kim":
        order = sorted((person.identity for person in people), key=lambda name: seeded(seed, "split", name))
        train = KIM_TRAIN if len(order) == 1251 else round(len(order) * KIM_TRAIN / 1251)
        return {identity: "train" if place < train else "test" for place, identity in enumerate(order)}
    return _table(Path(split), aliases(people))


def _pins(path: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Lines `NAME LABEL`; a name holds no space."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); give PINs' {PINS_FILE}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in PINS_LABELS:
            raise UserError(f"{path}, line {number}: not `NAME LABEL` with a label 1, 2 or 4; give PINs' {PINS_FILE}")
        _put(found, names, words[0], PINS_LABELS[words[1]], f"{path}, line {number}")
    return found


def _table(path: Path, names: Mapping[str, str]) -> dict[str, str]:
    if not path.is_file():
        raise UserError(f"--split {path}: neither a file nor one of {', '.join(NAMED)}; give one of these or a CSV")
    found: dict[str, str] = {}
    for number, row in read_csv_rows(path, ("identity", "split")):
        if row["split"].lower() not in SPLITS:
            raise UserError(f"{path}, line {number}: split {row['split']!r}; give {', '.join(SPLITS)}")
        _put(found, names, row["identity"], row["split"].lower(), f"{path}, line {number}")
    return found


def _put(found: dict[str, str], names: Mapping[str, str], name: str, split: str, where: str) -> None:
    identity = names.get(name)
    if identity is None:
        raise UserError(f"{where}: {name!r} is not in the metadata; correct it, or give the table that knows it")
    if found.setdefault(identity, split) != split:
        raise UserError(f"{where}: {name!r} is in {split} here and in {found[identity]} above; keep one line")
