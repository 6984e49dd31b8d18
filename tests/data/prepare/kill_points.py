"""Build a corpus again and again in forked children that are killed, each at another file operation; not a test module.

`python kill_points.py FOLDER ANYWHERE` kills builds at so many of the file operations, and at each of the last ones.
It prints, as JSON: how many file operations an uninterrupted build makes, at which of them builds were killed, and
which of these did not end with the same bytes after the next run.
"""

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from tests_support import tone_corpus

PEOPLE = [("train", 2, 3), ("train", 3, 1), ("val", 1, 1), ("test", 2, 2)]
# Each is announced just before it happens.
OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.scandir"}


def content(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


def build(out: Path) -> None:
    tone_corpus(out, PEOPLE, max_voices=1, shard_bytes=60_000)


def count_operations(place: Path, at: Callable[[int], None]) -> None:
    """Call `at` with a running number before every file operation below a folder, of this process."""
    number = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number
        # Removing a tree works with names relative to open folders: those count too.
        path = str(arguments[0]) if event in OPERATIONS else ""
        if path and (path.startswith(str(place)) or not path.startswith("/")):
            number += 1
            at(number)

    sys.addaudithook(hook)


def child(work: Callable[[], None]) -> int:
    """Run something in a fork of this process; its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def killed_build(out: Path, moment: int) -> int:
    def work() -> None:
        count_operations(out.parent, lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == moment else None)
        build(out)

    return child(work)


def main(folder: Path, anywhere: int) -> None:
    """Count, kill, run again, compare."""
    build(folder / "warm")  # all that is imported on the way
    reader, writer = os.pipe()

    def counted() -> None:
        numbers: list[int] = []
        count_operations(folder, numbers.append)
        build(folder / "whole")
        os.write(writer, str(len(numbers)).encode())

    assert child(counted) == 0
    total = int(os.read(reader, 100))
    whole = content(folder / "whole")
    draw = random.Random(0)
    # Moments anywhere, and each of the last ones, where the folder of the people goes and the corpus gets its name.
    moments = sorted({*draw.sample(range(1, total - 20), anywhere), *range(total - 20, total + 1)})
    wrong = []
    for moment in moments:
        out = folder / f"killed{moment}" / "corpus"
        out.parent.mkdir()
        status = killed_build(out, moment)
        if status != -signal.SIGKILL or child(lambda out=out: build(out)) or content(out) != whole:
            wrong.append([moment, status])
        if [p.name for p in out.parent.iterdir()] != ["corpus"]:
            wrong.append([moment, "something is left beside it"])
    # One that is killed time and again, a little later each time.
    out = folder / "often" / "corpus"
    out.parent.mkdir()
    kills = 0
    while killed_build(out, draw.randint(1, total)) == -signal.SIGKILL and kills < 2 * anywhere:
        kills += 1
    if content(out) != whole:
        wrong.append(["often", kills])
    print(json.dumps({"total": total, "moments": moments, "wrong": wrong, "kills": kills}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
