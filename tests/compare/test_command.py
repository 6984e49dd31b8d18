"""`voiceface compare` as a user types it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compare_support import result, write
from tests_support import voiceface

from voiceface.cli import main
from voiceface.cli.compare import FORMATS, STUDIES
from voiceface.compare.reading import reference_results
from voiceface.evaluation.results import write_results
from voiceface.methods.recipes import list_recipes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("results")
    return [str(write(folder / f"{name}.json", name, noise)) for name, noise in (("good", 1.0), ("bad", 4.0))]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["compare", *words])
    return status, *capsys.readouterr()


def test_without_arguments_every_recipe_is_in_a_short_table_without_torch():
    program = (
        "import sys; from voiceface.cli import main\nprint('STATUS', main(['compare']))\n"
        "print('HEAVY', {'torch', 'pytorch_lightning', 'timm', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "STATUS 0" in done.stdout
    assert "HEAVY set()" in done.stdout
    assert done.stderr == ""
    shown = {one.results["model"]["recipe"] for one in reference_results()}
    assert len(shown) >= 23
    assert shown <= set(list_recipes())
    first = done.stdout.index("synthetic, test split: 150 people")
    assert first < done.stdout.index("ideal observer") < done.stdout.index("--published")
    assert all(re.search(rf"^{name} ", done.stdout, re.M) for name in [*shown, "chance"])
    assert "SIGIR 2020" not in done.stdout
    assert len(done.stdout.splitlines()) < 60


def test_the_literature_and_all_columns_are_asked_for(capsys: pytest.CaptureFixture[str]):
    _, said, _ = run(capsys, "--published")
    assert "SIGIR 2020" in said
    assert "150 people, 600 voices" not in said
    _, said, _ = run(capsys, "--format", "table")
    assert all(name in said for name in [*list_recipes(), "±", "R@10", "parameters"])
    assert "SIGIR 2020" not in said


def test_the_references_are_whole_and_of_the_built_in_corpus():
    found = reference_results()
    assert all(one.effects() for one in found)
    assert {one.results["data"]["corpus"] for one in found} == {"synthetic"}
    assert len({one.results["data"]["clips_sha256"] for one in found}) == 1
    for one in found:
        assert " /" not in one.results["environment"]["command"]


def test_the_format_is_what_the_file_ends_in(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for form, ending in FORMATS.items():
        out = tmp_path / "deep" / f"board.{ending}"
        status, said, _ = run(capsys, *files, "--out", str(out))
        assert (status, said) == (0, f"leaderboard: {out}\n")
        assert "good" in out.read_text()
        if form not in ("html", "svg"):  # these hold what was drawn when
            assert run(capsys, *files, "--format", form) == (0, out.read_text(), "")
    assert json.loads((tmp_path / "deep/board.json").read_text())
    odd = tmp_path / "board.out"
    assert run(capsys, *files, "--format", "csv", "--out", str(odd))[0] == 0
    assert odd.read_text() == (tmp_path / "deep/board.csv").read_text()


def test_tasks_protocols_and_levels(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    _, said, _ = run(capsys, *files, "--tasks", "mAP/v2f", "--format", "csv")
    assert {line.split(",")[1] for line in said.splitlines()} & {"mAP/U/v2f"} or "mAP/U/v2f" in said
    assert "1:2" not in said
    _, said, _ = run(capsys, *files, "--protocol", "exact, clip_weighted", "--format", "csv")
    assert "clip_weighted" in said
    twin = str(write(tmp_path / "twin.json", "twin", 1.0, 1))
    for level, shown in (((), "5"), (("--level", "0.99"), "1")):
        _, said, _ = run(capsys, files[0], twin, "--tasks", "1:2/v2f", *level)
        assert re.findall(r"not significant at (\S+) %", said) == [shown]
        assert re.findall(r"half the (\S+) % interval", said) == ["95"]


def test_broken_files_are_named_and_the_rest_is_compared(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    edited = tmp_path / "edited.json"
    edited.write_text(Path(files[0]).read_text().replace('"n": 2', '"n": 3', 1))
    status, said, _ = run(capsys, *files, str(edited), str(tmp_path / "nothing.json"))
    assert status == 0
    assert "good" in said
    assert "changed after it was written" in " ".join(said.split())
    assert "no such result file" in " ".join(said.split())
    status, _, said = run(capsys, str(edited))
    assert status == 2
    assert len(said.splitlines()) == 1
    assert "edited.json" in said


def test_a_leaderboard_replaces_no_result(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mine = Path(shutil.copy(files[0], tmp_path / "mine.json"))
    before = mine.read_bytes()
    status, _, said = run(capsys, *files, "--out", str(mine))
    assert status == 2
    assert "mine.json: is a result, which the leaderboard would replace" in said
    assert mine.read_bytes() == before


def test_signs_reach_a_terminal_whose_locale_has_none(files: list[str]):
    program = "import sys; from voiceface.cli import main; sys.exit(main(['compare', *sys.argv[1:]]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *files], capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "v→f" in done.stdout.decode()


def test_a_pipe_or_a_device_is_not_replaced(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    status, _, said = run(capsys, *files, "--out", str(pipe))
    assert status == 2
    assert "pipe.csv: cannot be written" in said
    assert pipe.is_fifo()


def test_a_link_is_written_through(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    link = tmp_path / "latest.csv"
    link.symlink_to(tmp_path / "board.csv")
    assert run(capsys, *files, "--out", str(link))[0] == 0
    assert link.is_symlink()
    assert "good" in (tmp_path / "board.csv").read_text()


def test_a_result_without_a_score_is_named(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    empty = tmp_path / "empty.json"
    write_results(empty, result("nothing", 1.0) | {"scores": []})
    status, said, _ = run(capsys, *files, str(empty))
    assert status == 0
    assert "empty.json: no score of protocol exact or sampled" in " ".join(said.split())
    status, _, said = run(capsys, str(empty))
    assert status == 2
    assert "empty.json: holds no score" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "3"], "--seeds: says how to train; name what to train by --models or --study"),
        (["--data", "x"], "--data: says how to train"),
        (["--", "--data.people", "3"], "-- --data.people 3: says how to train"),
        (
            ["--study", "joint", "--models", "trinet"],
            "--study joint: has models and columns of its own; leave --models",
        ),
        (["--study", "jiont"], "did you mean joint?"),
        (["--models", "trinte"], "--models trinte: no such recipe, did you mean trinet?"),
        (["--models", "trinet,trinet"], "--models trinet,trinet: holds trinet twice"),
        (["--models", "trinet", "--seeds", "0"], "--seeds 0: give 1 or more"),
        (["--models", "trinet", "--steps", "0"], "--steps 0: give 1 or more"),
        (["--models", "trinet", "--data", "nowhere"], "--data nowhere: no such folder"),
        (["--models", "trinet", "--", "--data.peple", "3"], "--data.peple: no such option, did you mean people?"),
        (["--tasks", "1:2/X"], "--tasks 1:2/X: no such task"),
        (["--tasks", ""], "the value is empty"),
        (["--tasks", "AUC,"], "--tasks (empty): no such task"),
        (["--tasks", "1:\N{SUPERSCRIPT TWO}"], "no such task"),
        (["--tasks", "R@0"], "--tasks R@0: no such task"),
        (["--protocol", "nonsense"], "--protocol nonsense: in no result; there are: "),
        (["--level", "95"], "--level 95.0: give a fraction between 0 and 1"),
        (["--out", "board"], "--out board: does not say what to write; end it in .txt, .md, .tex, .csv, .json, .html"),
        (["--format", "pdf"], "--format pdf: not known here"),
        (["--against", "me"], "--against me: not known here"),
        (["nowhere"], "nowhere: no such result file"),
        (["--taks", "AUC"], "--taks: not known here, did you mean --tasks?"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    status, said, error = run(capsys, *words)
    assert status == 2
    assert said == ""
    assert len(error.splitlines()) == 1
    assert message in error
    assert not list(tmp_path.iterdir())


def test_help_and_every_study_is_there():
    from voiceface.compare.experiments.study import list_studies

    assert sorted(STUDIES) == list_studies()
    done = voiceface("compare", "--help", status=0)
    assert all(study in " ".join(done.stdout.split()).replace("- ", "-") for study in STUDIES)


def test_a_result_of_the_first_schema_stands_beside_one_of_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    new = write(tmp_path / "new.json", "new", 1.0)
    old = {key: value for key, value in result("old", 2.0).items() if key != "roc"} | {"schema": 1}
    (tmp_path / "old.json").write_text(json.dumps(old))
    status, said, _ = run(capsys, str(new), str(tmp_path / "old.json"))
    assert status == 0
    assert "old" in said
    assert "not tested against others" in " ".join(said.split())
