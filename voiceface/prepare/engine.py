"""Build a corpus from people: in parallel, resumable after a kill at any moment, and never half written.

The work goes on in `OUT.partial`: one finished tar per person, then the shards, then the description, and at the end
one rename to `OUT`. Once the description is there, only tidying up and the rename are left.
"""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from voiceface.data.shards import Person, Reject
from voiceface.errors import UserError
from voiceface.prepare.engines import LOCAL, Engine, run
from voiceface.prepare.journal import clips_of, last_look, record, resume
from voiceface.prepare.pace import pace
from voiceface.prepare.packing import END_OF_TAR, Bundling, CorpusOptions, pack
from voiceface.prepare.plans import INPUTS, PLAN, Plan, describe, differences, same_plan

__all__ = ["END_OF_TAR", "LOCAL", "Bundling", "CorpusOptions", "Engine", "Summary", "build"]

Job = TypeVar("Job")


@dataclass(frozen=True)
class Summary:
    """What preparation did: per split the numbers of people, voices and faces, and the number of rejects by reason."""

    splits: dict[str, dict[str, int]]
    rejects: dict[str, int]
    already_there: bool = False


def build(
    out: Path,
    jobs: Sequence[Job],
    make: Callable[[Job], Person],
    identities: Mapping[str, Mapping[str, str]],
    options: CorpusOptions,
    made_by: Mapping[str, Any],
    rejects: Sequence[Reject] = (),
    workers: int | None = None,
    engine: Engine = LOCAL,
) -> Summary:
    """Make every person, pack them into shards, and put the finished corpus at `out`.

    The bytes of the corpus depend neither on the engine and its workers nor on interruptions. People of an interrupted
    run whose files have changed since (`Person.stamps`) are made again; files that changed in the course of this run
    stand in `rejects.csv` with the stage `source`, and their clips are kept.

    Args:
        out: Folder of the corpus; must not exist, or hold the corpus of the same command.
        jobs: One job per person. The attribute `identity`, if there is one, names the job in messages; the number
            `clips`, if there is one, weighs it in the progress.
        make: Pure function of one job, called in worker processes.
        identities: Attributes of every identity.
        options: Layout of the corpus.
        made_by: What makes this corpus (command, options, versions): another run goes on only where this is the same.
        rejects: What was left out before.
        workers: Processes; default one per core.
        engine: Where people are made.

    Raises:
        UserError: `out` is taken or cannot be written, another run is at work there, the disk is full, the sources are
            gone, the engine cannot go on, or too little was kept.
    """
    if out.name in ("", "..") or out.is_symlink() or os.path.ismount(out):
        raise UserError(
            f"{out}: the finished corpus cannot be put in its place; name a new folder, such as {out / 'corpus'}"
        )
    plan, inputs = describe(jobs, identities, rejects, options, made_by)
    finished = _finished(out, plan)
    if finished:
        return finished
    work = out.with_name(out.name + ".partial")
    try:
        with _only_run(work):
            finished = _finished(out, plan)
            if finished:  # by another run, between the look above and this lock
                shutil.rmtree(work, ignore_errors=True)
                return finished
            same_plan(work, plan, inputs)
            people = work / "people"
            if not (work / "corpus.json").exists():
                people.mkdir(exist_ok=True)
                _make_people(people, jobs, make, options, workers, engine)
                _pack(work, people, len(jobs), identities, options, plan, rejects)
            summary = _summary(work)
            if people.exists():
                shutil.rmtree(people)
            for name in (PLAN, INPUTS):
                (work / name).unlink(missing_ok=True)
            os.rename(work, out)
            # The lock goes last, so that no other run can come in between.
            (out / "lock").unlink()
            return summary
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(
            f"{work}: {os.strerror(error.errno).lower()}; what is done is kept there: make room or mend "
            "it, then run the same command again"
        ) from error


def _finished(out: Path, plan: Plan) -> Summary | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / "corpus.json").exists():
        raise UserError(f"{out}: exists and is not a corpus; choose another OUT")
    before = json.loads((out / "corpus.json").read_text()).get("plan") or {}
    if before != plan:
        raise UserError(
            f"{out}: holds a corpus made by another command ({differences(before, plan)}); "
            "choose another OUT or delete it"
        )
    if (out / "lock").exists():  # a kill right after the rename leaves it
        (out / "lock").unlink()
    return _summary(out, already_there=True)


def _summary(corpus: Path, already_there: bool = False) -> Summary:
    described = json.loads((corpus / "corpus.json").read_text())
    splits = {s: {k: d[k] for k in ("identities", "voices", "faces")} for s, d in described["splits"].items()}
    return Summary(splits, described["rejects"], already_there)


@contextmanager
def _only_run(work: Path) -> Iterator[None]:
    """Hold the work folder's lock; the kernel drops it when the process ends, however it ends."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{work}: another `voiceface prepare` is at work there; wait for it or choose another OUT"
            ) from None
        yield


def _make_people(
    folder: Path,
    jobs: Sequence[Job],
    make: Callable[[Job], Person],
    options: CorpusOptions,
    workers: int | None,
    engine: Engine,
) -> None:
    todo, changed = resume(folder, len(jobs))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        print(f"made again, since their files have changed: the person of {changed[0]}{more}", file=sys.stderr)
    total, left = sum(map(clips_of, jobs)), sum(clips_of(jobs[number]) for number in todo)
    numbered = [(number, jobs[number]) for number in todo]
    # A cluster's workers may stand in another folder.
    results = run(engine, partial(record, folder.absolute(), make, options), numbered, workers, folder)
    done = len(jobs) - len(todo)
    with pace("preparing people", total, "clips", total - left) as advance, closing(results):
        for _, clips in results:
            done += 1
            advance(clips, f"{done:,} of {len(jobs):,} people")


def _pack(
    work: Path,
    folder: Path,
    people: int,
    identities: Mapping[str, Mapping[str, str]],
    options: CorpusOptions,
    plan: Plan,
    rejects: Sequence[Reject],
) -> None:
    made, notes = last_look(folder, people)
    if notes:
        print(
            f"{len(notes)} source files changed or vanished after they were read (first: {notes[0].path}); "
            "they stand in rejects.csv",
            file=sys.stderr,
        )
    pack(work, made, identities, options, plan, rejects, notes)
