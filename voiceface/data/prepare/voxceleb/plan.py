"""What `voiceface prepare voxceleb` is going to do: who is there, who is missing, and one job per person."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from voiceface.data.corpus.bundles import Person, Reject
from voiceface.data.prepare.sources.people import Reading, Source, check_reading, make_person
from voiceface.data.prepare.sources.selection import chosen
from voiceface.data.prepare.sources.walk import common_reasons
from voiceface.data.prepare.voxceleb.folders import LAYOUTS, count, leads_out, read_tree, sources
from voiceface.data.prepare.voxceleb.metadata import META, VoxPerson, find_beside, read_metadata
from voiceface.data.prepare.voxceleb.splits import PINS_FILE, split_people
from voiceface.utils.errors import UserError


@dataclass(frozen=True)
class VoxCelebOptions:
    """What is on disk, and how it becomes a corpus.

    Args:
        split: pins, svhf, trinet, kim or a CSV, see `split_people`.
        voxceleb1: VoxCeleb1's voices: a folder, or a listing of one (`read_tree`); so are the four below.
        voxceleb2: VoxCeleb2's voices.
        faces1: VoxCeleb1's crops, `unzippedFaces`.
        vggface1: VGGFace1's pictures in one folder per name.
        vggface2: VGGFace2's pictures.
        meta1: `vox1_meta.csv`; default: in or beside the trees.
        meta2: `vox2_meta.csv`; likewise.
        split_file: PINs' `identity_splits.txt`; likewise.
        seed: Seed of the kim split, of the validation people, of the dealing and of the order.
        validation: So many training people go to val.
        reading: How the files are read.
        limit: So many people at most.
        only: These people only.
        name: Name of the corpus; default: data sets and split, such as `voxceleb1-pins`.
        licence: Licence of the material.
    """

    split: str
    voxceleb1: Path | None = None
    voxceleb2: Path | None = None
    faces1: Path | None = None
    vggface1: Path | None = None
    vggface2: Path | None = None
    meta1: Path | None = None
    meta2: Path | None = None
    split_file: Path | None = None
    seed: int = 0
    validation: int = 0
    reading: Reading = field(default_factory=Reading)
    limit: int | None = None
    only: str = ""
    name: str = ""
    licence: str = ""

    def trees(self) -> dict[str, Path]:
        """The trees that are given, by the names of `LAYOUTS`."""
        places = {name: getattr(self, name) for name in LAYOUTS}
        return {name: place for name, place in places.items() if place is not None}

    def datasets(self) -> list[int]:
        """The data sets whose voices are given."""
        return [dataset for dataset in (1, 2) if f"voxceleb{dataset}" in self.trees()]


@dataclass(frozen=True)
class VoxJob:
    """One person to read; files as (name of the tree, its folder, paths joined by line ends)."""

    identity: str
    split: str
    files: tuple[tuple[str, str, str], ...]
    reading: Reading

    @property
    def clips(self) -> int:
        """Files to read."""
        return count(paths for _, _, paths in self.files)


@dataclass(frozen=True)
class There:
    """How many files one person of the metadata has; `split` is empty for who belongs to none."""

    identity: str
    dataset: int
    split: str
    voices: int
    faces: int

    @property
    def missing(self) -> str:
        """What keeps the person out of the corpus: voices, faces, both, or nothing."""
        return " and ".join(["voices"] * (not self.voices) + ["faces"] * (not self.faces))


@dataclass(frozen=True)
class Plan:
    """What will be read, of whom.

    Attributes:
        jobs: One per person with voices and faces, in the order of ids.
        identities: What is known of them, by id; no names.
        rejects: What is left out unread.
        there: Everybody of the metadata.
    """

    jobs: list[VoxJob]
    identities: dict[str, dict[str, str]]
    rejects: list[Reject]
    there: list[There]


def plan(options: VoxCelebOptions) -> Plan:
    """Look at metadata, split and trees, without opening a voice or a face.

    A person without voices or without faces, or of no split, is left out and is one row of `rejects`.

    Raises:
        UserError: Voices or faces of a data set are not given, a table or a tree is missing or damaged, or fewer than
            two people are left.
    """
    check_reading(options.reading)
    given = options.trees()
    people = _metadata(options, given)
    pins = (
        find_beside(PINS_FILE, options.split_file, "--split-file", given.values()) if options.split == "pins" else None
    )
    splits = split_people(options.split, people, pins, options.seed, options.validation)
    rejects: list[Reject] = []
    trees = []
    for name, place in given.items():
        layout = LAYOUTS[name]
        own = [person for person in people if person.dataset == layout.dataset]
        if layout.kind == "voice":
            owners = {person.identity: person.identity for person in own}
        else:
            owners = {person.face.rstrip("."): person.identity for person in own}
            owners |= {person.face: person.identity for person in own}
        trees.append(read_tree(name, place, owners.get, rejects))
    there, jobs = [], []
    for person in people:
        split = splits.get(person.identity, "")
        files = tuple((t.name, t.root, t.files[person.identity]) for t in trees if person.identity in t.files)
        row = There(person.identity, person.dataset, split, _count(files, "voice"), _count(files, "face"))
        there.append(row)
        if not split:
            rejects.append(Reject(f"{person.identity}/", "collect", "in no split"))
        elif row.missing:
            rejects.append(Reject(f"{person.identity}/", "collect", f"no {row.missing}"))
        else:
            jobs.append(VoxJob(person.identity, split, files, options.reading))
    if len(jobs) < 2:
        raise UserError(
            f"{', '.join(f'--{name}' for name in given)}: {len(jobs) or 'no'} identity with voices and faces, matching "
            f"needs two or more (left out: {common_reasons(rejects)})"
        )
    # They stand in the corpus: a disk or a listing of another order makes the same one.
    rejects.sort(key=lambda reject: (reject.path, reject.stage, reject.reason))
    jobs = chosen(jobs, options.limit, options.only)
    kept = {job.identity for job in jobs}
    return Plan(jobs, {p.identity: p.attributes for p in people if p.identity in kept}, rejects, there)


def people_of(job: VoxJob) -> tuple[list[Source], list[Source]]:
    """The voices and the faces of a job."""
    voices, faces = (
        [
            source
            for name, root, paths in job.files
            if LAYOUTS[name].kind == kind
            for source in sources(name, root, job.identity, paths)
        ]
        for kind in ("voice", "face")
    )
    return voices, faces


def make_vox_person(job: VoxJob) -> Person:
    """Read one person's files; those behind a link that leads out of the tree are left out."""
    voices, faces = people_of(job)
    outside = {source.path for source in voices + faces if leads_out(source)}
    person = make_person(
        job.identity,
        job.split,
        [source for source in voices if source.path not in outside],
        [source for source in faces if source.path not in outside],
        job.reading,
    )
    rejects = tuple(Reject(path, "collect", "link that leads out of the folder") for path in sorted(outside))
    return replace(person, rejects=person.rejects + rejects)


def _metadata(options: VoxCelebOptions, given: dict[str, Path]) -> list[VoxPerson]:
    if not options.datasets():
        raise UserError("--voxceleb1 or --voxceleb2 is missing: give the folder of the voices")
    people: list[VoxPerson] = []
    for dataset in (1, 2):
        own = [name for name in given if LAYOUTS[name].dataset == dataset]
        faces = " or ".join(
            f"--{n}" for n, layout in LAYOUTS.items() if layout.kind == "face" and layout.dataset == dataset
        )
        if dataset not in options.datasets():
            if own:
                raise UserError(f"--voxceleb{dataset} is missing: --{own[0]} shows the people of VoxCeleb{dataset}")
            continue
        if len(own) < 2:
            raise UserError(f"{faces} is missing: --voxceleb{dataset} needs faces of its people")
        table = getattr(options, f"meta{dataset}")
        table = find_beside(META[dataset], table, f"--meta{dataset}", [given[name] for name in own])
        people += read_metadata(table, dataset)
    return people


def _count(files: Sequence[tuple[str, str, str]], kind: str) -> int:
    return count(paths for name, _, paths in files if LAYOUTS[name].kind == kind)
