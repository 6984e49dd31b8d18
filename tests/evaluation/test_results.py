"""The result file: its effects against jackknives by hand, its ROC, its seal, and what a kill leaves behind."""

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from tests_support import examples

from voiceface.compare.reading import find_results
from voiceface.evaluation.result_schema import DATA
from voiceface.evaluation.results import (
    content_hash,
    environment,
    people_hash,
    read_effects,
    read_results,
    roc_curves,
    write_results,
)
from voiceface.scores import score
from voiceface.scores.confidence import difference_of, paired_difference, student_interval
from voiceface.scores.records import Record
from voiceface.utils.errors import UserError

PEOPLE = 30
OWNER = np.repeat(np.arange(PEOPLE), 2)
NAMES = [f"p{i:02d}" for i in OWNER]
TABLE = {f"p{i:02d}": {"gender": "mf"[i % 2]} for i in range(PEOPLE)}


def test_a_result_says_the_command_and_not_where_it_ran(monkeypatch: pytest.MonkeyPatch):
    words = [
        "/place/bin/voiceface",
        "test",
        "/place/mine/checkpoint",
        "--out=/place/r.json",
        "--data",
        "a/b",
        "--x.y=1",
    ]
    monkeypatch.setattr("sys.argv", words)
    assert environment()["command"] == "voiceface test checkpoint --out=r.json --data a/b --x.y=1"


def similarity(model: int, population: int = 7, people: int = PEOPLE) -> np.ndarray:
    """Two voices and two faces a person; models differ in a part of their noise, as after another seed."""
    rng = np.random.default_rng(population)
    owner = np.repeat(np.arange(people), 2)
    centres, noise = rng.normal(size=(people, 8))[owner], rng.normal(size=(2, 2 * people, 8))
    noise = noise + 0.6 * np.random.default_rng([population, model]).normal(size=noise.shape)
    voices, faces = (
        side / np.linalg.norm(side, axis=1, keepdims=True) for side in (centres + 2 * noise[0], centres + 2 * noise[1])
    )
    return voices @ faces.T


def result(scores: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    model = {"recipe": "mine", "method": "embeddings", "arguments": None, "parameters": None, "checkpoint": None}
    data = dict.fromkeys(DATA) | {"clips_sha256": "00", "identities": PEOPLE, "voices": 60, "faces": 60, "skipped": 0}
    sections = {"schema": 2, "model": {**model, "training_data": None}, "data": data, "environment": {}}
    return {**sections, "scores": list(scores), **more}


@pytest.fixture(scope="module")
def matrices() -> list[np.ndarray]:
    return [similarity(model) for model in range(2)]


@pytest.fixture(scope="module")
def files(matrices: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("results")
    paths = []
    for number, matrix in enumerate(matrices):
        records = score(None, NAMES, None, NAMES, TABLE, similarity=matrix, candidates=(2, 3))
        paths.append(folder / f"model{number}.json")
        write_results(paths[-1], result(records, roc=roc_curves(records)))
    return paths


def found(files: list[Path], **wanted: Any) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """The record of each model, and its effects, as the files have them."""
    records, effects = [], []
    for path in files:
        results = read_results(path)
        (number,) = (i for i, r in enumerate(results["scores"]) if all(r[k] == v for k, v in wanted.items()))
        records.append(results["scores"][number])
        kept = read_effects(path, results)
        assert kept is not None
        effects.append(kept[number])
    return records, effects


def win_rates(matrix: np.ndarray) -> np.ndarray:
    rates = np.zeros((PEOPLE, PEOPLE))
    for a in range(PEOPLE):
        for b in range(PEOPLE):
            own = matrix[a == OWNER][:, a == OWNER][:, :, None]
            other = matrix[a == OWNER][:, b == OWNER][:, None, :]
            rates[a, b] = ((own > other) + 0.5 * (own == other)).mean()
    return rates


@pytest.mark.parametrize("stratum", ["U", "G", "male"])
@pytest.mark.parametrize("direction", ["v2f", "f2v"])
def test_the_difference_of_two_files_is_the_paired_difference_of_their_win_rates(
    matrices: list[np.ndarray], files: list[Path], stratum: str, direction: str
):
    first, second = (win_rates(m if direction == "v2f" else m.T) for m in matrices)
    gender = np.arange(PEOPLE) % 2
    mask = ~np.eye(PEOPLE, dtype=bool)
    if stratum != "U":
        mask &= gender[:, None] == gender
    if stratum == "male":
        mask &= gender[:, None] == 0
    wanted = paired_difference(first, second, mask)
    records, effects = found(
        files, task="matching", n=2, protocol="exact", stratum=stratum, direction=direction, metric="accuracy"
    )
    difference = difference_of(records[0]["value"] - records[1]["value"], effects[0] - effects[1])
    assert wanted is not None
    for name in ("value", "low", "high", "p_value"):
        assert getattr(difference, name) == pytest.approx(getattr(wanted, name), abs=1e-4)
    assert wanted.high - wanted.low > 0.01  # the tolerance is far below what is compared


def auc(matrix: np.ndarray, owner: np.ndarray) -> float:
    return float(roc_auc_score((owner[:, None] == owner).ravel(), matrix.ravel()))


def mean_average_precision(matrix: np.ndarray, owner: np.ndarray) -> float:
    precisions = []
    for a, row in zip(owner, matrix, strict=True):
        right = (owner == a)[np.argsort(-row)]
        precisions.append((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())
    return float(np.mean(precisions))


def one_of_three(matrix: np.ndarray, owner: np.ndarray) -> float:
    """Every pair of impostors, every pair of their items, by hand."""
    won = []
    for a in np.unique(owner):
        for row in matrix[owner == a]:
            for own in row[owner == a]:
                beaten = [(own > row[owner == b]).mean() for b in np.unique(owner) if b != a]
                won.append(np.mean([x * y for x, y in combinations(beaten, 2)]))
    return float(np.mean(won))


@pytest.mark.parametrize(
    ("naive", "wanted", "wide", "least"),
    [
        (auc, {"metric": "AUC", "stratum": "U"}, (0.99, 1.01), 0.999),
        # Delete-one's variance of 1:3, a U-statistic of order 3, is I / (I - 2) times as large, about.
        (one_of_three, {"n": 3, "stratum": "U", "direction": "v2f", "task": "matching"}, (0.9, 0.97), 0.999),
        (mean_average_precision, {"metric": "mAP", "stratum": "U", "direction": "v2f"}, (0.9999, 1.0001), 0.999999),
    ],
)
def test_the_difference_of_effects_is_that_of_leaving_each_person_out(
    matrices: list[np.ndarray],
    files: list[Path],
    naive: Callable[[np.ndarray, np.ndarray], float],
    wanted: dict[str, Any],
    wide: tuple[float, float],
    least: float,
):
    records, effects = found(files, **wanted)
    for record, matrix in zip(records, matrices, strict=True):
        assert record["value"] == pytest.approx(naive(matrix, OWNER), abs=1e-9)
    without = []
    for gone in range(PEOPLE):
        left = gone != OWNER
        first, second = (naive(matrix[np.ix_(left, left)], OWNER[left]) for matrix in matrices)
        without.append(first - second)
    by_hand = (PEOPLE - 1) / PEOPLE * (np.mean(without) - without)
    difference = effects[0] - effects[1]
    assert wide[0] <= np.sqrt((difference**2).sum() / (by_hand**2).sum()) <= wide[1]
    assert np.corrcoef(difference, by_hand)[0, 1] > least
    # Side by side the two intervals would be far wider: the tolerance above tells.
    assert (effects[0] ** 2).sum() + (effects[1] ** 2).sum() > 1.3 * (difference**2).sum()


@pytest.mark.slow(reason="scores 200 populations")
def test_the_spread_of_differences_over_populations_is_what_the_effects_say():
    """Recall moves in steps, whose jackknife is too wide: 100 populations of 30 people are drawn instead."""
    draws = 100
    values, errors = np.zeros((2, draws))
    for population in range(draws):
        pair = [
            next(
                r
                for r in score(
                    None, NAMES, None, NAMES, strata=["U"], similarity=similarity(m, population), candidates=()
                )
                if r["metric"] == "R@5" and r["direction"] == "v2f"
            )
            for m in range(2)
        ]
        assert isinstance(pair[0], Record)
        assert isinstance(pair[1], Record)
        assert pair[0].effects is not None
        difference = pair[0].effects - pair[1].effects
        values[population] = pair[0]["value"] - pair[1]["value"]
        errors[population] = (difference**2).sum() * PEOPLE / (PEOPLE - 1)
    assert np.sqrt(errors.mean()) / values.std(ddof=1) == pytest.approx(1.0, abs=0.25)  # standard error: 0.07


def test_every_interval_over_people_follows_from_the_effects(files: list[Path]):
    results = read_results(files[0])
    effects = read_effects(files[0], results)
    assert effects is not None
    kept = {(r["task"], r["metric"]) for i, r in enumerate(results["scores"]) if i in effects}
    assert {("matching", "accuracy"), ("verification", "EER"), ("retrieval", "R@10")} < kept
    for number, own in effects.items():
        record = results["scores"][number]
        assert own.sum() == pytest.approx(0.0, abs=1e-4)
        if record["metric"][:2] != "R@":  # on the logit scale near 0 and 1
            low, high = student_interval(record["value"], own) or (None, None)
            assert (record["ci_low"], record["ci_high"]) == (
                pytest.approx(low, abs=1e-4),
                pytest.approx(high, abs=1e-4),
            )


@pytest.mark.parametrize("stratum", ["U", "G"])
def test_the_roc_is_that_of_all_pairs(matrices: list[np.ndarray], files: list[Path], stratum: str):
    """All people have as many clips, so all pairs of a kind weigh alike."""
    kept = read_results(files[0])["roc"][stratum]
    positive = OWNER[:, None] == OWNER
    counted = positive | (OWNER[:, None] % 2 == OWNER % 2) if stratum == "G" else np.ones_like(positive)
    alarms, hits, _ = roc_curve(positive[counted], matrices[0][counted], drop_intermediate=False)
    assert len(kept) == 101
    for place, hit in enumerate(kept):  # nothing ties: the curve is a staircase
        assert hit == pytest.approx(hits[alarms <= place / 100 + 1e-12].max(), abs=6e-5)
    assert kept[0] < 0.2 < 0.3 < kept[50] < kept[100] == 1.0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("small") / "r.json"
    write_results(path, result(score(None, NAMES[:8], None, NAMES[:8], similarity=similarity(0)[:8, :8])[:3]))
    return path, path.read_bytes()


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.sampled_from(b'0123456789abcdefxyz"{}[],: \n.-'))
def test_any_byte_of_content_that_changes_is_found(small: tuple[Path, bytes], place: float, byte: int):
    path, content = small
    changed = bytearray(content)
    changed[int(place * len(changed))] = byte
    path.write_bytes(changed)
    try:
        read = read_results(path)
    except UserError:
        assert bytes(changed) != content
    else:
        assert read == json.loads(content)  # the same byte, or space about the same content


def test_a_changed_value_is_found_but_no_other_order_or_spacing(small: tuple[Path, bytes]):
    path, content = small
    whole = json.loads(content)
    for text in (
        json.dumps(whole),
        json.dumps(whole, indent=7, sort_keys=True),
        json.dumps(dict(reversed(whole.items()))),
    ):
        path.write_text(text)
        assert read_results(path) == whole
    better = json.loads(content)
    better["scores"][0]["value"] = round(better["scores"][0]["value"] + 0.001, 4)
    path.write_text(json.dumps(better))
    with pytest.raises(UserError, match=r"r\.json: changed after it was written"):
        read_results(path)
    del better["sha256"]
    path.write_text(json.dumps(better))
    with pytest.raises(UserError, match="changed after it was written"):
        read_results(path)


def test_a_compressed_file_is_read_and_a_cut_one_is_named(files: list[Path], tmp_path: Path):
    packed = tmp_path / "model0.json.gz"
    packed.write_bytes(gzip.compress(files[0].read_bytes()))
    (tmp_path / "model0.effects.npz").write_bytes(files[0].with_name("model0.effects.npz").read_bytes())
    assert read_results(packed) == read_results(files[0])
    effects = read_effects(packed, read_results(packed))
    assert effects is not None
    packed.write_bytes(packed.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"model0\.json\.gz: damaged or cut off"):
        read_results(packed)
    packed.write_bytes(files[0].read_bytes())
    with pytest.raises(UserError, match=r"model0\.json\.gz: damaged or cut off \(Not a gzipped file"):
        read_results(packed)


def test_a_stop_between_the_two_files_leaves_a_result_that_is_read_without_pairing(
    matrices: list[np.ndarray], tmp_path: Path
):
    path = tmp_path / "r.json"
    first, second = (
        result(score(None, NAMES, None, NAMES, similarity=m, strata=["U"], candidates=())) for m in matrices
    )
    write_results(path, first)
    before = read_results(path)
    (tmp_path / "r.json.tmp").mkdir()  # the second file cannot be begun
    with pytest.raises(UserError, match="cannot be written"):
        write_results(path, second)
    assert read_results(path) == before
    with pytest.raises(UserError, match=r"r\.effects\.npz: damaged, or of another result than r\.json"):
        read_effects(path, before)
    ((one,), left_out) = find_results([path])
    assert one.results == before
    assert one.effects() is None
    assert "of another result" in one.unpaired
    assert left_out == []
    (tmp_path / "r.json.tmp").rmdir()
    write_results(path, second)
    assert find_results([path])[0][0].effects() is not None
    nothing = result([r for r in second["scores"] if r["metric"] == "median_rank"])
    write_results(path, nothing)
    assert not (tmp_path / "r.effects.npz").exists()
    assert read_effects(path, read_results(path)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["scores"][0].update(value=1.2), "a accuracy has the value 1.2"),
        (lambda r: r["scores"][0].update(value=True), "has the value True"),
        (lambda r: r["scores"][0].update(direction="up"), "a score is of matching, up"),
        (lambda r: r["scores"][0].update(n=2.0), "no whole n, identities"),
        (lambda r: r["scores"][0].pop("ties"), "a score has the fields"),
        (lambda r: r["scores"].append("AUC"), "its section scores is no list of scores"),
        (lambda r: r.update(ideal_observer={}), "its section ideal_observer is no list"),
        (lambda r: r["scores"][0].update(ci_low=None), "no whole interval and level"),
        (lambda r: r["scores"][0].update(ci_level=95), "no whole interval and level"),
        (lambda r: r["scores"][0].update(ci_method=[]), r"a accuracy has ci_method \[\]"),
        (lambda r: r["scores"][0].update(value=10**400), "has the value 1000"),
        (lambda r: r.update(training={"curve": [[1]]}), "its training.curve is no list of pairs of numbers"),
        (lambda r: r.update(training={"steps": "3"}), "its training.steps is '3'"),
        (lambda r: r.update(training=[]), "its section training is no object"),
        (lambda r: r["data"].update(identities="many"), "its data.identities is 'many'"),
        (lambda r: r["model"].pop("recipe"), "its section model lacks recipe"),
        (lambda r: r.update(data=[]), "its section data is no object"),
        (lambda r: r.update(effects={"file": "../r.npz", "sha256": ""}), "its section effects names no file"),
        (lambda r: r.update(effects={"file": "", "sha256": ""}), "its section effects names no file"),
        (lambda r: r.update(effects={"file": "r\0.npz", "sha256": ""}), "its section effects names no file"),
        (lambda r: r["model"].update(directions=["up"]), r"its model\.directions is \['up'\]"),
        (lambda r: r["data"].update(leaking_identities="all"), "its data.leaking_identities is 'all'"),
        (lambda r: r.update(roc={"U": [0.5] * 100}), "its section roc is not as voiceface writes it"),
        (lambda r: r.update(roc={"U": [0.5] * 100 + [1.5]}), "its section roc is not as voiceface writes it"),
        (lambda r: r.update(examples=[{"query": "a"}]), "its section examples is not as voiceface writes it"),
        (lambda r: r.pop("scores"), r"not a voiceface result \(no scores\)"),
        (lambda r: r.update(schema=99), "schema 99, this version reads .*; update voiceface"),
        (lambda r: r.update(schema="2"), "schema 2, this version reads"),
        (lambda r: r.update(schema=True), "schema True, this version reads"),
    ],
)
def test_what_is_no_result_is_neither_written_nor_read(
    small: tuple[Path, bytes], tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
):
    results = json.loads(small[1])
    change(results)
    path = tmp_path / "r.json"
    with pytest.raises(UserError, match=message):
        write_results(path, results)
    assert not path.exists()
    path.write_text(json.dumps(results))
    with pytest.raises(UserError, match=message):
        read_results(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"[]", "it holds no sections"),
        (b'{"schema": 2, "sco', "not readable as JSON"),
        (b'{"schema": NaN}', "it holds NaN, which is no score"),
        (b"\xff\xfe\x00binary", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
    ],
)
def test_what_is_no_json_object_is_named(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_results(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda parts: parts.update(scale=parts["scale"] * np.nan),
        lambda parts: parts.update(steps=parts["steps"][:-1]),
        lambda parts: parts.update(lengths=-parts["lengths"]),
        lambda parts: parts.update(records=parts["records"] * 0),
        lambda parts: parts.update(records=np.int32(3)),
        lambda parts: parts.update(steps=parts["steps"].reshape(1, -1)),
        lambda parts: parts.update(scale=parts["scale"].astype(str)),
        lambda parts: parts.pop("lengths"),
    ],
)
def test_an_effects_file_whose_parts_do_not_fit_is_named(
    files: list[Path], tmp_path: Path, spoil: Callable[[dict[str, np.ndarray]], None]
):
    with np.load(files[0].with_name(f"{files[0].stem}.effects.npz")) as packed:
        parts = dict(packed)
    spoil(parts)
    beside = tmp_path / "own.effects.npz"
    np.savez(beside, **parts)
    effects = {"file": beside.name, "sha256": hashlib.sha256(beside.read_bytes()).hexdigest()}
    with pytest.raises(UserError, match=r"own\.effects\.npz: not an effects file"):
        read_effects(tmp_path / "own.json", {**read_results(files[0]), "effects": effects})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.update(lengths=a["lengths"][::-1] + 1), "do not fit each other"),
        (lambda a: a.update(steps=a["steps"][:-1], lengths=a["lengths"] - (a["records"] == 0)), "not of the people"),
        (lambda a: a.update(records=a["records"] + 10_000), "not of the people"),
        (lambda a: a.update(lengths=a["lengths"] + 99, steps=np.resize(a["steps"], sum(a["lengths"] + 99))), "not of"),
        (lambda a: a.update(more=np.zeros(201 * 2**20, np.int8)), "over 200 MiB"),
    ],
)
def test_effects_of_a_sealed_file_are_those_of_its_people_or_none(
    small: tuple[Path, bytes], tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], message: str
):
    """Whoever makes a result file can seal it."""
    results = json.loads(small[1])
    with np.load(small[0].with_name(results["effects"]["file"])) as packed:
        arrays = dict(packed)
    spoil(arrays)
    np.savez_compressed(tmp_path / "r.effects.npz", **arrays)
    content = (tmp_path / "r.effects.npz").read_bytes()
    results["effects"] = {"file": "r.effects.npz", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "r.json").write_text(json.dumps({**results, "sha256": content_hash(results)}))
    with pytest.raises(UserError, match=message):
        read_effects(tmp_path / "r.json", read_results(tmp_path / "r.json"))
    ((one,), _) = find_results([tmp_path / "r.json"])
    assert message in one.unpaired
    assert one.effects() is None


def test_the_hash_of_people_is_of_whose_clips_are_and_of_their_order():
    clips = ["a", "b", "c"], ["x", "y"]

    def of(voices: str, faces: str) -> str:
        return people_hash(clips[0], voices, clips[1], faces)

    assert of("112", "12") == of("337", "37")  # other names in the same order
    assert len({of("112", "12"), of("221", "21"), of("122", "12"), of("112", "21"), of("123", "12")}) == 5
    assert people_hash("ab", "12", "c", "1") == people_hash("ba", "21", "c", "1")


def test_people_without_the_other_modality_have_effects_on_retrieval(tmp_path: Path):
    faces = [*NAMES[:12], "q", "q"]  # of whom there is no voice
    matrix = np.random.default_rng(0).normal(size=(12, 14))
    records = score(None, NAMES[:12], None, faces, similarity=matrix, strata=["U"], candidates=())
    write_results(tmp_path / "r.json", result(records, data={**result([])["data"], "identities": 7}))
    effects = read_effects(tmp_path / "r.json", read_results(tmp_path / "r.json"))
    assert effects is not None
    lengths = {
        (r["task"], r["direction"]): (len(effects[i]), r["identities"]) for i, r in enumerate(records) if i in effects
    }
    assert lengths["retrieval", "v2f"] == (7, 6)
    assert lengths["matching", "v2f"] == lengths["verification", "both"] == (6, 6)
