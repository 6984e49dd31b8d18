"""Build a corpus from people: in parallel, resumable after a kill at any moment, and never half written.

The work goes on in `OUT.partial`: one finished tar per person, then the shards, then the description, and at the end
one rename to `OUT`. Once the description is there, only tidying up and the rename are left.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from voiceface.data.corpus.bundles import Person, Reject
from voiceface.data.prepare.engine.executors import LOCAL, Engine, run
from voiceface.data.prepare.engine.journal import clips_of, last_look, record, resume
from voiceface.data.prepare.engine.output_folder import Summary, make_once
from voiceface.data.prepare.engine.packing import END_OF_TAR, Bundling, CorpusOptions, pack
from voiceface.data.prepare.engine.provenance import describe
from voiceface.utils.errors import UserError
from voiceface.utils.progress import pace

__all__ = ["END_OF_TAR", "LOCAL", "Bundling", "CorpusOptions", "Engine", "Summary", "build"]

Job = TypeVar("Job")
PEOPLE = "people"
# People without any file left, one after the other: a disk or a mount that went away, and no reason to go on.
LOST = 3


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
    stand in `notes.csv` with the stage `source`, and their clips are kept.

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
    plan, inputs = describe(jobs, identities, rejects, options, made_by)

    def make_and_pack(work: Path) -> None:
        people = work / PEOPLE
        _make_people(people, jobs, make, options, workers, engine)
        made, notes = last_look(people, len(jobs))
        changed = [note.path for note in notes if note.stage == "source"]
        if changed:
            print(
                f"{len(changed)} source files changed or vanished after they were read (first: {changed[0]}); "
                "they stand in notes.csv",
                file=sys.stderr,
            )
        pack(work, made, identities, options, plan, rejects, notes)

    return make_once(out, plan, inputs, PEOPLE, make_and_pack)


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
    done, lost = len(jobs) - len(todo), 0
    with pace("preparing people", total, "clips", total - left) as advance, closing(results):
        for clips, gone in results:
            done += 1
            lost = lost + 1 if gone else 0
            if lost == LOST:
                raise UserError(
                    f"{gone}: not there, like all other files of {LOST} people in a row; put them back, then run the "
                    "same command again"
                )
            advance(clips, f"{done:,} of {len(jobs):,} people")
