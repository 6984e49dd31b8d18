"""The experiments of the papers: their files, their plans, their tables, and one from training to table."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests_support import tone_corpus, voiceface

from voiceface.cli.compare import STUDIES
from voiceface.compare.experiments.plans import Plan, alike, keep
from voiceface.compare.experiments.runs import run_plan
from voiceface.compare.experiments.study import list_studies, read_study, study_plan
from voiceface.compare.experiments.study_scores import score_study
from voiceface.compare.experiments.study_tables import study_comparison
from voiceface.compare.published import published
from voiceface.compare.reading import find_results
from voiceface.compare.table import Column, Comparison, Group, Row, columns_of
from voiceface.evaluation.embeddings import read_embeddings
from voiceface.evaluation.results import read_results, write_results
from voiceface.evaluation.scoring import score_embeddings
from voiceface.methods.recipes import list_recipes
from voiceface.training.arguments import expand
from voiceface.utils.errors import UserError

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    people = [("train", 2, 3)] * 8 + [("val", 2, 3)] * 3 + [("test", 2, 3)] * 4
    return str(tone_corpus(tmp_path_factory.mktemp("study") / "corpus", people))


def row_of(group: Group, name: str) -> Row:
    (row,) = (row for row in group.rows if row.name == name)
    return row


def column(word: str) -> Column:
    (found,) = columns_of(word)
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_file_names_what_exists(name: str) -> None:
    study = read_study(name)
    runs = {run.name: run for run in study.runs}
    used = {table.probes for table in study.tables} - {""}
    for run in study.runs:
        for preset in ("demo", "paper"):
            expand(["--model", run.model, "--preset", preset, *run.words])  # refuses an unknown option
    for table in study.tables:
        (group,) = published([table.published]) if table.published else (None,)
        names = [line.name for line in table.lines]
        assert len(set(names)) == len(names)
        assert not (table.lines and table.probes)
        for line in table.lines:
            assert bool(line.run) != bool(line.why)
            used |= {line.run, line.f2v} - {""}
            for row in line.row:
                rows = published([line.published])[0].rows if line.published else group.rows  # type: ignore[union-attr]
                (said,) = (one for one in rows if one.name == row)
                if said.recipe and line.run:  # the paper's row is of the recipe that we set beside it
                    assert said.recipe in {runs[r].model for r in (line.run, line.f2v) if r}
    assert used == set(runs)


def test_all_studies_can_be_asked_for() -> None:
    assert sorted(STUDIES) == list_studies()
    with pytest.raises(UserError, match="--study trinet-ablatoin: no such study, did you mean trinet-ablation"):
        read_study("trinet-ablatoin")


@pytest.mark.slow(reason="plans every training of every study")
def test_docs_say_how_many_models_are_trained(tmp_path: Path) -> None:
    lines = (TESTS.parent / "docs/compare.md").read_text().splitlines()
    said = {cells[1].strip("` "): cells[2] for line in lines if (cells := line.split("|"))[1:2] and "`" in cells[1]}
    for name in STUDIES:
        trained = len(set(alike(study_plan(name, out=tmp_path)).values()))
        numbers = [int(number) for number in re.findall(r"\d+", said[name])]
        assert numbers in ([len(read_study(name).runs), trained], [trained] if trained < 3 else [])


@pytest.mark.parametrize(
    ("name", "table", "without"),
    [
        ("trinet-ablation", "trinet-5", set()),
        ("trinet-confidence", "trinet-fig-4b", set()),
        ("trinet-confidence", "trinet-small", set()),
        ("joint", "trinet-3", set()),
        ("joint", "trinet-mean-voice", set()),
        ("joint", "trinet-mean-face", set()),
        ("kim-strata", "kim-3", set()),
        ("kim-strata", "kim-5-250", set()),
        ("kim-strata", "kim-5-5000", set()),
        ("kim-models", "kim-6", set()),
        ("kim-models", "kim-a2", set()),
        ("drl-ablation", "drl-2", {"VFMR3 (TriNet's first version)"}),  # no method of the library
        ("drl-ablation", "drl-3", set()),
    ],
)
def test_rows_are_those_of_the_paper(name: str, table: str, without: set[str]) -> None:
    (paper,) = published([table])
    lines = [(line.published or t.published, line) for t in read_study(name).tables for line in t.lines]
    ours = {row for of, line in lines if of == table for row in line.row}
    assert ours == {row.name for row in paper.rows if row.kind == "model"} - without


def test_every_trinet_recipe_is_in_the_ablation() -> None:
    assert [run.model for run in read_study("trinet-ablation").runs if run.words] == []
    assert {run.model for run in read_study("trinet-ablation").runs} == {
        recipe for recipe in list_recipes() if recipe.split("_")[0] == "trinet"
    }


def test_the_demo_trains_alike_models_once(tmp_path: Path) -> None:
    plan = study_plan("trinet-ablation", 2, out=tmp_path, steps=7)
    trained = {run.name for run in alike(plan).values()}
    assert trained == {"trinet", "trinet_box11", "trinet_crop", "trinet_euclidean", "trinet_s1", "trinet_s512"}
    assert {run.seed for run in plan.runs} == {0, 1}
    assert plan.words == ("--trainer.max_steps", "7")


def test_the_paper_preset_leaves_out_what_needs_other_data(corpus: str, tmp_path: Path) -> None:
    ablation = study_plan("trinet-ablation", out=tmp_path, data=corpus, preset="paper")
    assert {run.model for run in read_study("trinet-ablation").runs} - {run.model for run in ablation.runs} == {
        "trinet_uncropped",
        "trinet_ms1m",
    }
    assert len(set(alike(ablation).values())) == len(ablation.runs)
    networks = [
        {r.name for r in study_plan("drl-ablation", out=tmp_path, data=corpus, preset=p).runs}
        for p in ("paper", "demo")
    ]
    assert networks[0] - networks[1] == {"drl_vgg"}


def test_weights_go_to_the_networks_that_they_are_for(corpus: str, tmp_path: Path) -> None:
    files = {}
    for encoder in ("face_lresnet50_ir", "face_vggm", "voice_thin_resnet34", "voice_vggvox"):
        files[encoder] = str(tmp_path / f"{encoder}.safetensors")
        save_file({"x": torch.zeros(1)}, files[encoder], {"encoder": encoder})
    used = ("face_lresnet50_ir", "face_vggm", "voice_thin_resnet34")
    words = [word for encoder in used for word in ("--pretrained", files[encoder])]
    plan = study_plan("trinet-ablation", out=tmp_path / "out", data=corpus, words=[*words, "--data.workers=0"])
    given = {run.name: {w.removeprefix("--pretrained=") for w in run.words} for run in plan.runs}
    assert given["trinet"] == {files["face_lresnet50_ir"], files["voice_thin_resnet34"]}
    assert given["trinet_vggm"] == {files["face_vggm"], files["voice_thin_resnet34"]}
    assert given["trinet_seresnet50"] == given["trinet_noface"] == {files["voice_thin_resnet34"]}
    assert given["trinet_scratch"] == set()
    assert plan.words == ("--data.workers=0",)
    with pytest.raises(UserError, match="weights of voice_vggvox, from which no run of trinet-ablation starts"):
        study_plan("trinet-ablation", data=corpus, words=[*words, f"--pretrained={files['voice_vggvox']}"])


def test_wrong_words_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--model\.widht: no such option"):
        study_plan("kim-models", out=tmp_path, words=["--model.widht=3"])
    with pytest.raises(UserError, match="--seeds 0: give 1 or more"):
        study_plan("joint", 0, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def leave(plan: Plan, run: str, seed: int = 0, protocol: str | None = None, people: int = 8) -> Any:
    """Leave what a finished training would: the result of random embeddings; returns them."""
    folder = plan.out / run / f"seed-{seed}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, *run.encode()])
    names = np.array([f"p{i}" for i in range(people)]).repeat(2)
    identities = {f"p{i}": {"gender": "mf"[i % 2], "nationality": "ab"[i // 2 % 2]} for i in range(people)}
    model = {"method": "M", "arguments": {}, "parameters": 5, "checkpoint": f"{run} {seed}", "training_data": None}
    recipe = next(one.model for one in plan.runs if one.name == run)
    about = {"identities": identities, "data": {"synthetic": True}, "model": {**model, "recipe": recipe}}
    spread = 2 * rng.standard_normal((people, 4)).repeat(2, axis=0)
    arrays = {f"{kind}s": (spread + rng.standard_normal(spread.shape)).astype(np.float32) for kind in ("voice", "face")}
    for kind in ("voice", "face"):
        arrays |= {f"{kind}_identity": names, f"{kind}_key": np.array([f"{kind}{i}" for i in range(2 * people)])}
    np.savez(folder / "embeddings.npz", similarity="cosine", about=json.dumps(about), **arrays)  # type: ignore[arg-type]
    embeddings = read_embeddings(folder / "embeddings.npz")
    write_results(folder / "results.json", score_embeddings(embeddings, recipe, note=lambda _: None))
    if protocol:
        scores = score_embeddings(embeddings, recipe, protocols=[protocol], note=lambda _: None)
        (folder / "study").mkdir()
        write_results(folder / "study/scores.json", scores)
    return embeddings


def accuracy(embeddings: Any, direction: str) -> float:
    """1:2 by counting, all pairs of people alike."""
    rows, columns = embeddings.voices.astype(np.float64), embeddings.faces.astype(np.float64)
    if direction == "f2v":
        rows, columns = columns, rows
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, columns)]
    similarity, names = unit[0] @ unit[1].T, embeddings.voice_identity
    wins: list[float] = []
    for a in np.unique(names):
        for b in np.unique(names):
            if a != b:
                own, other = similarity[names == a][:, names == a], similarity[names == a][:, names == b]
                wins.append(float((own[:, :, None] > other[:, None, :]).mean()))
    return float(np.mean(wins))


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, dict[str, list[float]]]:
    """DRL's study with two seeds, of which some runs are there; and 1:2 of these by counting."""
    plan = study_plan("drl-ablation", 2, out=tmp_path_factory.mktemp("methods"))
    counted: dict[str, list[float]] = {}
    for run in ("kim", "kim_f2v", "pins", "drl"):
        for seed in (0, 1):
            embeddings = leave(plan, run, seed)
            for direction in ("v2f", "f2v"):
                counted.setdefault(f"{run} {direction}", []).append(accuracy(embeddings, direction))
    return study_comparison("drl-ablation", plan), counted


def test_values_are_means_over_seeds(methods: tuple[Comparison, dict[str, list[float]]]) -> None:
    table, counted = methods[0].groups[0], methods[1]
    place = table.columns.index(column("1:2/v2f"))
    cell = row_of(table, "PINs").cells[place]
    assert cell.value == pytest.approx(np.mean(counted["pins v2f"]))
    assert cell.spread == pytest.approx(np.std(counted["pins v2f"], ddof=1))
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < np.mean(counted["pins v2f"]) < cell.high
    assert row_of(table, "PINs").seeds == 2
    assert "means of 2 trainings" in " ".join(methods[0].notes)


def test_a_direction_may_have_a_network_of_its_own(methods: tuple[Comparison, dict[str, list[float]]]) -> None:
    table, counted = methods[0].groups[0], methods[1]
    row = row_of(table, "Kim")
    for direction, run in (("v2f", "kim"), ("f2v", "kim_f2v")):
        cell = row.cells[table.columns.index(column(f"1:2/{direction}"))]
        assert cell.value == pytest.approx(np.mean(counted[f"{run} {direction}"]))
    papers = [row.cells[table.columns.index(column(f"1:2/U/{d}"))].paper for d in ("v2f", "f2v")]
    assert papers == pytest.approx([0.782, 0.786])


def test_best_chance_and_the_papers_own(methods: tuple[Comparison, dict[str, list[float]]]) -> None:
    table, counted = methods[0].groups[0], methods[1]
    place = table.columns.index(column("1:2/v2f"))
    ours = {"Kim": "kim", "PINs": "pins", "DRL": "drl"}
    best = max(ours, key=lambda name: np.mean(counted[f"{ours[name]} v2f"]))
    assert [row.name for row in table.rows if row.cells[place].best] == [best]
    assert row_of(table, "chance").cells[place].value == 0.5
    assert row_of(table, "DRL").cells[table.columns.index(column("mAP/v2f"))].paper == pytest.approx(0.0675)
    assert row_of(table, "DIMNet-IG").cells[place].paper == pytest.approx(0.8412)
    assert "not the paper's gallery but the whole split" in " ".join(table.notes)
    assert any("synthetic" in note for note in methods[0].notes)


def test_runs_without_a_result_keep_their_row(methods: tuple[Comparison, dict[str, list[float]]]) -> None:
    for name, part in (("ranking alone", "not trained: see "), ("VGG-Face and VGG-Vox", "small networks")):
        row = row_of(methods[0].groups[1], name)
        assert row.cells[0].value is None
        assert row.cells[0].paper is not None
        assert len(row.notes) == 1
        assert part in row.notes[0]
    assert row_of(methods[0].groups[1], "all of it").cells == row_of(methods[0].groups[1], "width 256").cells
    ages = methods[0].groups[0].columns.index(column("AUC/A"))
    assert row_of(methods[0].groups[0], "DRL").cells[ages].value is None
    assert "age not known of these people" in " ".join(row_of(methods[0].groups[0], "DRL").notes)


@pytest.fixture(scope="module")
def confident(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, dict[str, Any]]:
    """TriNet's study of small test sets, with scores of 101 people."""
    plan = study_plan("trinet-confidence", out=tmp_path_factory.mktemp("confident"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voiceface.scores.protocols.TRINET_TRIPLETS", 600_000)  # the paper's number takes 6 seconds
        leave(plan, "trinet", protocol="trinet", people=101)
    return study_comparison("trinet-confidence", plan), read_results(plan.out / "trinet/seed-0/study/scores.json")


def test_subsets_that_these_people_allow(confident: tuple[Comparison, dict[str, Any]]) -> None:
    headline, subsets = confident[0].groups
    row = row_of(subsets, "100 people")
    mean, spread = (
        next(r for r in confident[1]["scores"] if r["protocol"] == "trinet_subsets_100" and r["metric"] == metric)
        for metric in ("accuracy", "accuracy_spread")
    )
    assert (row.cells[0].value, row.cells[0].low) == (mean["value"], mean["ci_low"])
    assert row.cells[0].mark == f"SD {100 * spread['value']:.1f} of a single set"
    assert row.cells[0].paper == pytest.approx(0.8444)
    for size in ("189", "500", "1,000"):
        row = row_of(subsets, f"{size} people")
        assert row.cells[0].value is None
        assert row.notes == (f"needs more than {size.replace(',', '')} people, there are 101",)
    small = row_of(headline, "trained on 1,000, tested on 189 people")
    assert small.cells[0].paper == pytest.approx(0.8355)
    assert "needs a corpus of that split" in small.notes[0]


def test_counted_and_drawn_headline(confident: tuple[Comparison, dict[str, Any]]) -> None:
    headline = confident[0].groups[0]
    counted, drawn = (row_of(headline, name) for name in ("every trial counted", "drawn as the paper does"))
    for place in range(4):
        exact, sampled = counted.cells[place].value, drawn.cells[place].value
        assert exact is not None
        assert sampled is not None
        assert exact != sampled
        assert abs(exact - sampled) < (0.03 if headline.columns[place].n == 3 else 0.002)
        assert counted.cells[place].paper == drawn.cells[place].paper
    assert counted.cells[4].value is not None
    assert drawn.cells[4].value is None
    assert any("needs 100 people with 40 voices and 5 faces, there are 0" in note for note in drawn.notes)


def test_the_same_settings_share_a_result(tmp_path: Path) -> None:
    plan = study_plan("trinet-ablation", out=tmp_path)
    leave(plan, "trinet")
    (table,) = study_comparison("trinet-ablation", plan).groups
    default, twin = row_of(table, "default"), row_of(table, "face VGG-M")
    assert [c.value for c in twin.cells] == [c.value for c in default.cells]
    assert [round(100 * c.paper, 2) for c in twin.cells if c.paper] == [81.30, 68.95, 64.90, 64.84, 8.06]
    assert twin.notes[0] == "the demo preset makes it the same as trinet: trained once"
    assert not twin.ranked
    assert not any(cell.best for row in table.rows for cell in row.cells)  # one result is the best of nothing
    assert len(table.rows) == 16  # the paper's 15, and chance


@pytest.mark.parametrize(
    "trained",
    ["before", pytest.param("by the study", marks=pytest.mark.slow(reason="two processes that import all of it"))],
)
def test_one_study_from_training_to_table(
    trained: str, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(TESTS / "support"),
    }.items():
        monkeypatch.setenv(name, value)
    if trained == "before":
        monkeypatch.setattr("voiceface.scores.protocols.TRINET_TRIPLETS", 600_000)
    words = ["--data.people=4", "--data.workers=0"]
    plan = study_plan("joint", out=tmp_path / "joint", data=corpus, preset="demo", steps=2, words=words)
    if trained == "before":

        def fork(command: list[str], **_: Any) -> Any:
            return voiceface(*command[3:])

        monkeypatch.setattr(
            "voiceface.compare.experiments.study_scores.subprocess", SimpleNamespace(run=fork, DEVNULL=None)
        )
        plan.out.mkdir()
        keep(plan)
        for run in set(alike(plan).values()):
            voiceface("fit", *plan.fit_words(run), status=0)
    run_plan(plan, print)
    assert score_study("joint", plan, print) == ()
    folder = plan.out / "trinet/seed-0"
    written = {path.name: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert score_study("joint", plan, print) == ()
    assert {path.name: path.stat().st_mtime_ns for path in folder.rglob("*")} == written  # nothing done twice
    assert [one.path for one in find_results([plan.out])[0]] == [folder / "results.json"]
    assert capsys.readouterr().out.count("scoring as the paper does") == 1
    table = study_comparison("joint", plan).groups[2]
    values = {row.name: row.cells[0].value for row in table.rows if row.kind == "model"}
    assert {name for name, value in values.items() if value is not None} == {"1 voice, 1 face", "2 voices, 2 faces"}
    assert row_of(table, "10 voices, 10 faces").cells[0].paper == pytest.approx(0.8966)
    assert row_of(table, "10 voices, 10 faces").notes == ("fewer than 3 of the people have so many clips",)
