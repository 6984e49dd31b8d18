"""What is done of an unfinished corpus: one record per person, and a tar of the person's bundles beside it.

A record appears whole, after its tar, and names it: a person is done when the record is there. Two workers that make
the same person at once (a cluster may take a slow node for a dead one) write two tars and one of the two records.
"""

import json
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from voiceface.data.corpus.bundles import Person, Reject, deal, write_bundles
from voiceface.data.corpus.index import Bundle
from voiceface.data.corpus.videos import deal_videos
from voiceface.data.prepare.engine.packing import CorpusOptions, Made
from voiceface.data.prepare.media.file_stamps import difference, none_left
from voiceface.utils.errors import UserError
from voiceface.utils.files import atomic

Job = TypeVar("Job")
Item = TypeVar("Item")
Result = TypeVar("Result")
# Network file systems answer slowly, but many questions at a time.
THREADS = 16


def record(
    folder: Path, make: Callable[[Job], Person], options: CorpusOptions, numbered: tuple[int, Job]
) -> tuple[int, str]:
    """Make one person and write the tar and the record; called in a worker.

    Args:
        folder: Folder of the records.
        make: Makes a person of a job.
        options: How the clips are dealt to bundles.
        numbered: Number of the job, and the job.

    Returns:
        Number of clips of the job, see `clips_of`; and one of the person's files where none of them is there any more,
        with the node that looked, else an empty text.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    number, job = numbered
    person = make(job)
    dealt = deal_videos if options.bundle == "video" else deal
    parts = dealt(person, options.max_voices, options.max_faces, options.seed) if person.voices or person.faces else []
    tar, rows = "", []
    if parts:
        tar = f"{number:07d}-{uuid.uuid4().hex}.tar"
        with atomic(folder / tar) as stream:
            rows = write_bundles(stream, [(f"{number:07d}-{i:03d}", part) for i, part in enumerate(parts)])
    names = {clip.source for clip in person.voices + person.faces} | {reject.path for reject in person.rejects}
    done = {
        "identity": person.identity,
        "split": person.split,
        "tar": tar,
        "bundles": [asdict(row) for row in rows],
        "rejects": [asdict(reject) for reject in person.rejects],
        "notes": [asdict(note) for note in person.notes],
        "stamps": [(*stamp, _shown(stamp[0], names)) for stamp in person.stamps],
    }
    alone = folder / f"{number:07d}-{uuid.uuid4().hex}.json"
    with atomic(alone) as stream:
        stream.write(json.dumps(done).encode())
    os.replace(alone, _place(folder, number))
    return clips_of(job), f"{person.stamps[0][0]} on {socket.gethostname()}" if none_left(person.stamps) else ""


def clips_of(job: object) -> int:
    """About how many clips a job makes: its attribute `clips`, for progress; 1 where it has none."""
    return int(getattr(job, "clips", 1))


def _shown(path: str, names: set[str]) -> str:
    """The name of a file in the corpus: the end of its path that is known there."""
    parts = path.split("/")
    ends = ("/".join(parts[i:]) for i in range(len(parts)))
    return next((end for end in ends if end in names), path)


def _place(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.json"


def _read(folder: Path, number: int) -> dict[str, Any] | None:
    """One record; None if the person is not done."""
    try:
        done: dict[str, Any] = json.loads(_place(folder, number).read_bytes())
    except FileNotFoundError:
        return None
    return done if not done["tar"] or (folder / done["tar"]).exists() else None


def resume(folder: Path, people: int) -> tuple[list[int], list[str]]:
    """Look at what an interrupted run left: forget the people whose files have changed, and delete what is of no use.

    Args:
        folder: Folder of the records.
        people: Number of jobs.

    Returns:
        Numbers of the jobs to do; and of each person among them who was done before, one file that has changed.
    """

    def look(number: int) -> tuple[str | None, str]:
        """The person's tar, empty if there is none, None if the person is not done; and a file that has changed."""
        done = _read(folder, number)
        if done is None:
            return None, ""
        different = next((path for path, size, time, _ in done["stamps"] if difference((path, size, time))), "")
        if different:
            _place(folder, number).unlink()
        return None if different else done["tar"], different

    looks = list(_in_threads(look, range(people)))
    tars = {tar for tar, _ in looks}
    records = {_place(folder, number).name for number in range(people)}
    with os.scandir(folder) as files:
        for file in files:
            if file.name not in tars and file.name not in records:
                os.unlink(file.path)
    return [number for number, (tar, _) in enumerate(looks) if tar is None], [d for _, d in looks if d]


def last_look(folder: Path, people: int) -> tuple[list[Made], list[Reject]]:
    """Read all records, and see whether files have changed or vanished since they were read.

    Args:
        folder: Folder of the records.
        people: Number of jobs, all done.

    Returns:
        What was made of the jobs, in their order; and notes on what was kept, and on each file that is no longer what
        was read.

    Raises:
        UserError: A record is not there, although its person was made.
    """

    def look(number: int) -> tuple[Made, list[Reject]]:
        done = _read(folder, number)
        if done is None:
            raise UserError(
                f"{folder}: a person who was made is not there; run the same command again (with a cluster, "
                "on a folder that all nodes share)"
            )
        notes = [Reject(**row) for row in done["notes"]]
        for path, size, time, shown in done["stamps"]:
            what = difference((path, size, time))
            if what:
                notes.append(Reject(shown, "source", f"{what} after it was read"))
        tar = folder / done["tar"] if done["tar"] else None
        bundles, rejects = [Bundle(**row) for row in done["bundles"]], [Reject(**row) for row in done["rejects"]]
        return Made(done["identity"], done["split"], tar, bundles, rejects), notes

    looks = list(_in_threads(look, range(people)))
    return [made for made, _ in looks], [note for _, notes in looks for note in notes]


def _in_threads(look: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call a function that waits for the file system on every item, in order, several at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(look, items)
