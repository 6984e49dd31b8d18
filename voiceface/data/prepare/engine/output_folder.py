"""The output folder of a preparation: resumed after a kill, used by one run at a time, never seen half written."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voiceface.data.prepare.engine.provenance import INPUTS, PLAN, Inputs, Plan, differences, same_plan
from voiceface.utils.errors import UserError
from voiceface.utils.files import locked


@dataclass(frozen=True)
class Summary:
    """What preparation did: per split the numbers of people, voices and faces, and the number of rejects by reason."""

    splits: dict[str, dict[str, int]]
    rejects: dict[str, int]
    notes: int = 0
    already_there: bool = False


def make_once(out: Path, plan: Plan, inputs: Inputs, pieces: str, make: Callable[[Path], None]) -> Summary:
    """Make a corpus in `OUT.partial`, and rename that to `out` when it is whole.

    Args:
        out: Folder of the corpus; must not exist, or hold the corpus of the same plan.
        plan: What makes the corpus: another run goes on only where this is the same.
        inputs: Hashes of the inputs, to say what differs, see `voiceface.data.prepare.engine.provenance.describe`.
        pieces: Name of the folder below the unfinished corpus where `make` keeps what is done; removed at the end.
        make: Does what is left to do in the folder of the unfinished corpus; `corpus.json` comes last.

    Raises:
        UserError: `out` is taken or cannot be written, another run is at work there, or the disk is full.
    """
    check_out(out)
    finished = _finished(out, plan)
    if finished:
        return finished
    work = out.with_name(out.name + ".partial")
    try:
        with locked(work / "lock", wait=False):
            finished = _finished(out, plan)
            if finished:  # by another run, between the look above and this lock
                shutil.rmtree(work, ignore_errors=True)
                return finished
            same_plan(work, plan, inputs)
            if not (work / "corpus.json").exists():
                (work / pieces).mkdir(exist_ok=True)
                make(work)
            summary = _summary(work)
            if (work / pieces).exists():
                shutil.rmtree(work / pieces)
            for name in (PLAN, INPUTS):
                (work / name).unlink(missing_ok=True)
            os.rename(work, out)
            # The lock goes last, so that no other run can come in between; one that finds the corpus removes it too.
            (out / "lock").unlink(missing_ok=True)
            return summary
    except BlockingIOError:
        raise UserError(f"{work}: another run is at work there; wait for it or choose another OUT") from None
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(
            f"{work}: {os.strerror(error.errno).lower()}; what is done is kept there: make room or fix "
            "it, then run the same command again"
        ) from error


def check_out(out: Path) -> None:
    """Refuse a place where no corpus can be put.

    Raises:
        UserError: Something else is there.
    """
    if out.name in ("", "..") or out.is_symlink() or os.path.ismount(out):
        raise UserError(
            f"{out}: the finished corpus cannot be put in its place; name a new folder, such as {out / 'corpus'}"
        )
    if _taken(out) and not (out / "corpus.json").exists():
        raise UserError(f"{out}: exists and is not a corpus; choose another OUT")


def _taken(out: Path) -> bool:
    return out.exists() and not (out.is_dir() and not any(out.iterdir()))


def _finished(out: Path, plan: Plan) -> Summary | None:
    if not _taken(out):
        return None
    check_out(out)
    before = json.loads((out / "corpus.json").read_text()).get("plan") or {}
    if before != plan:
        raise UserError(
            f"{out}: holds a corpus made by another command ({differences(before, plan)}); "
            "choose another OUT or delete it"
        )
    (out / "lock").unlink(missing_ok=True)  # a kill right after the rename leaves it
    return _summary(out, already_there=True)


def _summary(corpus: Path, already_there: bool = False) -> Summary:
    described = json.loads((corpus / "corpus.json").read_text())
    splits = {s: {k: d[k] for k in ("identities", "voices", "faces")} for s, d in described["splits"].items()}
    return Summary(splits, described["rejects"], described.get("notes", 0), already_there)
