"""Several recipes trained alike: what is refused beforehand, real runs that are brought down, and what they leave."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killer import differences, left_over, state_of
from tests_support import tone_corpus

from voiceface.compare.experiments.plans import alike, check, keep
from voiceface.compare.experiments.runs import (
    Plan,
    Run,
    _Listener,
    failures,
    free_folder,
    plan,
    remarks,
    result_path,
    run_plan,
)
from voiceface.evaluation.results import read_results
from voiceface.training.launch import PARENT
from voiceface.utils.errors import UserError
from voiceface.utils.progress import TERMINAL, progress

TESTS = Path(__file__).parents[2]
SMALL = ("--data.people=4", "--data.workers=0", "--trainer.max_steps=5", "--trainer.val_check_interval=2")
TOLD = ("--trainer.callbacks=tell_parent.TellParent", "--trainer.callbacks.step=2")
COMMAND = """
import sys
from pathlib import Path
from voiceface.compare.experiments.runs import Plan, Run, run_plan
run_plan(eval(sys.argv[1].replace("PosixPath", "Path")))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    people = [("train", 3, 4)] * 8 + [("val", 2, 3)] * 3 + [("test", 3, 4)] * 3
    return str(tone_corpus(tmp_path_factory.mktemp("compare") / "corpus", people))


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    """For the runs: one thread, no GPU, the tests' modules importable."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(TESTS / "support"),
        }.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def asked(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A recipe twice: a run that asks the comparison to end, and one that nothing happens to."""
    # How often it saves is no setting of the training, but makes the two differ, or one would stand for both.
    runs = (Run("told", "trinet", TOLD), Run("calm", "trinet", ("--save_every=50",)))
    return Plan(tmp_path_factory.mktemp("out") / "compared", corpus, "demo", None, None, runs, SMALL)


@pytest.fixture(scope="module")
def stopped(asked: Plan) -> subprocess.CompletedProcess[str]:
    """The comparison, told to end in its first run."""
    command = [sys.executable, "-c", COMMAND, repr(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    saved = torch.load(asked.folder(asked.runs[0]) / "last.ckpt", weights_only=True)["global_step"]
    assert (done.returncode, saved) == (143, 3), done.stderr
    return done


@pytest.fixture(scope="module")
def compared(asked: Plan, stopped: object) -> tuple[list[Path], list[str]]:
    """The same comparison, gone on with."""
    said: list[str] = []
    return run_plan(asked, said.append), said


WHOLE = pytest.mark.slow(
    reason="runs of a user's own, each in a process that imports all of it, stopped and gone on with"
)


@WHOLE
def test_told_to_end_it_says_how_to_go_on(asked: Plan, stopped: subprocess.CompletedProcess[str], compared: object):
    said = stopped.stderr.splitlines()
    assert said[0].startswith(f"the same for all: {asked.data}, preset demo, encoders paper")
    assert "seed 0, --data.people=4" in said[0]
    assert said[1] == f"[1/2] told, seed 0: training; it prints to {asked.log(asked.runs[0])}"
    assert said[2:] == [f"voiceface: told to end; resume with the same command and --runs {asked.out}"]


@WHOLE
def test_gone_on_with_it_has_the_bits_of_an_undisturbed_run(asked: Plan, compared: tuple[list[Path], list[str]]):
    paths, said = compared
    assert said[1].startswith("[1/2] told, seed 0: going on;")
    assert said[3].startswith("[2/2] calm, seed 0: training;")
    assert paths == [asked.out / "told/seed-0/results.json", asked.out / "calm/seed-0/results.json"]
    assert differences(*(state_of(path.parent) for path in paths)) == []
    told, calm = (read_results(path) for path in paths)
    assert told["model"]["checkpoint"] == calm["model"]["checkpoint"]
    assert told["training"]["resumed"] == 1
    assert "preempted at step 3" in asked.log(asked.runs[0]).read_text()
    assert failures(asked) == ()
    assert [file for run in asked.runs for file in left_over(asked.folder(run))] == []


@WHOLE
def test_what_is_finished_stays_and_a_run_that_fails_is_kept_apart(
    asked: Plan, compared: tuple[list[Path], list[str]], tmp_path: Path
):
    def times() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for run in asked.runs for p in asked.folder(run).rglob("*") if p.is_file()}

    def note(line: str) -> None:
        said.append(line)
        if line.startswith("[3/3]"):
            weights.unlink(missing_ok=True)

    weights, said = tmp_path / "weights.safetensors", []
    header = json.dumps({"__metadata__": {"encoder": "face_small"}}).encode()
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    more = replace(asked, runs=(*asked.runs, Run("wrong", "trinet", (f"--pretrained={weights}",))))
    before = times()
    assert run_plan(more, note) == compared[0]
    assert times() == before
    assert [line.partition(": ")[2] for line in said[1:3]] == ["finished before"] * 2
    assert said[4:] == ["[3/3] wrong, seed 0: failed; the others go on"]
    log = asked.out / "wrong/seed-0.log"
    missing = f"--pretrained {weights}: no such file; check its name"
    assert failures(more) == (f"wrong, seed 0: failed: {missing} (all it said: {log})",)
    with pytest.raises(UserError, match="holds wrong, seed 0, which is not asked for now"):
        run_plan(asked, note)


def test_a_comparison_at_work_is_not_joined(asked: Plan, tmp_path: Path):
    mine = replace(asked, out=tmp_path)
    keep(mine)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(UserError, match=f"--runs {tmp_path}: a comparison is at work in it"):
        run_plan(mine)
    os.close(holder)


@WHOLE
def test_the_result_of_another_run_is_not_taken(asked: Plan, compared: tuple[list[Path], list[str]], tmp_path: Path):
    other = replace(asked, out=tmp_path, runs=(Run("trinet", "trinet", seed=1),))
    keep(other)
    other.folder(other.runs[0]).mkdir(parents=True)
    for file in ("results.json", "results.effects.npz"):
        (other.folder(other.runs[0]) / file).write_bytes((compared[0][0].parent / file).read_bytes())
    with pytest.raises(UserError, match="not the result of trinet, seed 1"):
        run_plan(other)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_told_of_either_signal(number: signal.Signals):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    before = signal.getsignal(number)
    with _Listener() as listener:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
        timer.start()
        assert listener.wait(child) == -signal.SIGTERM
    assert listener.told == [number]
    assert signal.getsignal(number) is before


def test_a_run_leaves_when_the_comparison_is_killed():
    run = (
        "import signal, sys, time\n"
        "from voiceface.training.launch import end_with_launcher\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('told')))\n"
        "end_with_launcher(0.05)\n"
        "print('at work', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    comparison = (
        "import os, subprocess, sys\n"
        f"environment = os.environ | {{{PARENT!r}: str(os.getpid())}}\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], env=environment, stderr=subprocess.PIPE)\n"
        "child.stderr.readline()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "LOCAL_RANK"}
    # What the run prints ends when it does.
    done = subprocess.run(
        [sys.executable, "-c", comparison, run], stdout=subprocess.PIPE, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "told\n")


def test_a_run_shows_its_bar_on_the_terminal_of_the_comparison(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ours, theirs = pty.openpty()
    monkeypatch.setenv(TERMINAL, os.ttyname(theirs))
    monkeypatch.setenv("TERM", "xterm")
    with progress("climbing", 3) as advance:
        print("kept")
        advance(3)
    shown = b""
    while b"climbing" not in shown:  # a terminal hands over what was written piece by piece
        assert select.select([ours], [], [], 30)[0], shown
        shown += os.read(ours, 100_000)
    assert capsys.readouterr() == ("kept\n", "")
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["trinett"], {}, "--models trinett: no such recipe, did you mean trinet"),
        ([], {}, "name a recipe"),
        (["kim", "kim"], {}, "--models kim,kim: holds kim twice"),
        (["kim"], {"seeds": 0}, "--seeds 0: give 1 or more"),
        (["kim"], {"steps": 0}, "--steps 0: give 1 or more"),
        (["kim"], {"preset": "papr"}, "--preset papr: not a preset, did you mean paper"),
        (["kim"], {"gpus": "two"}, "--gpus two: give a number"),
        (["kim"], {"data": "nowhere"}, "--data nowhere: no such folder"),
        (["kim"], {"words": ["--trainer.max_step", "3"]}, "--trainer.max_step: no such option, did you mean max_steps"),
        (["trinet", "svhf"], {"words": ["--model.margin=2"]}, "--model.margin: no such option"),
        (["kim"], {"words": ["--data.root=x"]}, "-- --data.root: the comparison decides it for each run; give --data"),
        (["kim"], {"words": ["--out", "x"]}, "-- --out: the comparison decides it for each run; give --runs"),
        (["kim"], {"words": ["--ckpt_path=last"]}, "-- --ckpt_path: the comparison decides it for each run; leave it"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    tmp_path: Path, models: list[str], options: dict[str, Any], message: str
):
    with pytest.raises(UserError) as refused:
        plan(models, **{"out": tmp_path / "new", **options})
    assert message in str(refused.value)
    assert not (tmp_path / "new").exists()


def test_a_plan_has_every_recipe_with_every_seed_and_one_budget(corpus: str):
    made = plan(["trinet", "svhf"], 2, data=corpus, encoders="common", steps=7, words=["--data.people=3"])
    assert [(run.name, run.seed) for run in made.runs] == [("trinet", 0), ("svhf", 0), ("trinet", 1), ("svhf", 1)]
    assert made.fit_words(made.runs[3]) == [
        *("--model=svhf", f"--data={corpus}", "--encoders=common", "--trainer.max_steps", "7", "--data.people=3"),
        *("--seed_everything=1", "--out=runs/compare/svhf/seed-1"),
    ]


def test_the_folder_is_the_next_free_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/compare/kim").mkdir(parents=True)
    (tmp_path / "runs/compare-2").mkdir()
    assert free_folder("compare") == Path("runs/compare-2")
    assert free_folder("joint") == Path("runs/joint")


def test_recipes_that_the_preset_makes_the_same_are_trained_once(tmp_path: Path):
    made = plan(["trinet", "trinet_vggm", "svhf"], out=tmp_path, preset="demo")
    trinet, vggm, svhf = made.runs
    assert alike(made) == {trinet: trinet, vggm: trinet, svhf: svhf}
    assert result_path(made, vggm) == tmp_path / "trinet/seed-0/results.json"
    assert remarks(made)[1:] == (
        "trinet_vggm: with preset demo and these encoders its settings are those of trinet; trained once",
    )
    paper = replace(made, preset="paper")
    assert alike(paper)[vggm] == vggm
    assert remarks(paper)[1:] == ()


def test_a_folder_keeps_one_comparison_that_may_grow(corpus: str, tmp_path: Path):
    first = plan(["trinet"], 1, out=tmp_path, data=corpus, preset="demo", steps=3)
    keep(first)
    keep(first)
    keep(plan(["svhf", "trinet"], 2, out=tmp_path, data=corpus, preset="demo", steps=3))
    kept = json.loads((tmp_path / "compare.json").read_text())
    assert [(run["name"], run["seed"]) for run in kept["runs"]] == [
        ("svhf", 0),
        ("trinet", 0),
        ("svhf", 1),
        ("trinet", 1),
    ]
    other = str(tone_corpus(tmp_path.parent / "other", [("train", 1, 1)] * 2 + [("val", 1, 1), ("test", 1, 1)]))
    grown = {"models": ["svhf", "trinet"], "seeds": 2, "data": corpus, "preset": "demo", "steps": 3}
    for change, message in (
        ({"models": ["svhf"]}, "holds trinet, seed 0, which is not asked for now"),
        ({"seeds": 1}, "holds svhf, seed 1, which is not asked for now"),
        ({"preset": "paper"}, "had --preset demo, now paper"),
        ({"encoders": "common"}, "had --encoders paper, now common"),
        ({"gpus": "2"}, "had --gpus (none), now 2"),
        ({"steps": 4}, "had words for every run --trainer.max_steps 3, now --trainer.max_steps 4"),
        ({"data": other}, "is of another corpus than"),
    ):
        with pytest.raises(UserError) as refused:
            keep(plan(**{**grown, **change}, out=tmp_path))
        assert message in str(refused.value)
    changed = plan(**grown, out=tmp_path)
    changed = replace(changed, runs=(replace(changed.runs[0], words=("--data.people=3",)), *changed.runs[1:]))
    with pytest.raises(UserError, match=r"its svhf was svhf, now svhf --data\.people=3"):
        keep(changed)
    assert json.loads((tmp_path / "compare.json").read_text()) == kept


def test_a_comparison_of_an_earlier_version_goes_on_and_says_so(corpus: str, tmp_path: Path):
    made = plan(["trinet"], out=tmp_path, data=corpus)
    keep(made)
    file = tmp_path / "compare.json"
    file.write_text(file.read_text().replace('"voiceface": "', '"voiceface": "0.0.'))
    (line,) = keep(made)
    assert "begun with voiceface 0.0." in line


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": 9}', '{"schema": 1, "runs": []}'])
def test_a_damaged_plan_is_refused(corpus: str, tmp_path: Path, content: str):
    (tmp_path / "compare.json").write_text(content)
    with pytest.raises(UserError, match=r"compare\.json: damaged, or of another version"):
        keep(plan(["trinet"], out=tmp_path, data=corpus))


def test_a_folder_of_something_else_is_left_alone(corpus: str, tmp_path: Path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(UserError, match="holds something else"):
        run_plan(plan(["trinet"], out=tmp_path, data=corpus))
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_names_that_cannot_be_folders_or_come_twice_are_mistakes_of_the_program(tmp_path: Path):
    for runs in ((Run("../a", "trinet"),), (Run("a", "trinet"), Run("a", "kim"))):
        with pytest.raises(ValueError, match=r"no name of a folder|planned twice"):
            check(Plan(tmp_path, None, None, None, None, runs))
