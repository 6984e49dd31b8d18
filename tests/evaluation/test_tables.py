"""The tables: they hold what the records say, fit the terminal, and never print a word that is no number."""

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from voiceface.evaluation.cells import cell, letters, percent, stratum_name
from voiceface.evaluation.tables import results_table
from voiceface.scores import score
from voiceface.scores.galleries import gallery_records, missing_galleries
from voiceface.scores.joint import joint_records
from voiceface.scores.protocols import protocol_records
from voiceface.scores.records import record

PEOPLE, VOICES, FACES = 40, 3, 2
TABLE = {f"p{i}": {"gender": "mf"[i % 2], "nationality": "ABCD"[i % 4], "age": str(20 + i)} for i in range(PEOPLE)}


def sides(noise: float, seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((PEOPLE, 16))
    parts: list[Any] = []
    for count in (VOICES, FACES):
        owner = np.repeat(np.arange(PEOPLE), count)
        parts += [centres[owner] + noise * rng.standard_normal((len(owner), 16)), [f"p{i}" for i in owner]]
    return tuple(parts)


def result(scores: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    data = {"corpus": None, "split": None, "synthetic": None, "skipped": 0}
    data |= {"identities": PEOPLE, "voices": PEOPLE * VOICES, "faces": PEOPLE * FACES}
    return {"model": {"recipe": "mine", "method": "embeddings"}, "data": data, "scores": scores, **more}


def printed(results: dict[str, Any], everything: bool = False, width: int = 100) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(results_table(results, everything, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def row(lines: list[str], title: str, start: str) -> list[str]:
    """The words of the first row of the table with this title that starts so, a value and its interval as one."""
    after = lines[lines.index(next(line for line in lines if line.startswith(title))) :]
    return (
        next(line for line in after if line.startswith(start))[len(start) :]
        .replace(" ± ", "±")
        .replace(" (", "(")
        .split()
    )


@pytest.fixture(scope="module")
def scores() -> list[dict[str, Any]]:
    video = [[f"{i % 2}" for i in range(PEOPLE * count)] for count in (VOICES, FACES)]
    return score(*sides(2.0), TABLE, voice_video=video[0], face_video=video[1])


@pytest.fixture(scope="module")
def whole(scores: list[dict[str, Any]]) -> dict[str, Any]:
    embeddings = sides(2.0)
    records = [*scores, *joint_records(*embeddings), *protocol_records("kim", *embeddings, TABLE, trials=500)]
    records += [*protocol_records("trinet", *embeddings, TABLE, trials=500), *gallery_records("kim", *embeddings)]
    reasons = {}
    for kind in ("trinet", "kim"):
        reasons |= missing_galleries(kind, embeddings[1], embeddings[3])
    absent = [{"protocol": p, "direction": d, "reason": reason} for (p, d), reason in reasons.items()]
    common: dict[str, Any] = {"identities": 9, "trials": 99, "ties": 0, "protocol": "my[list]", "chance": 0.5, "n": 1}
    interval: dict[str, Any] = {"interval": (0.6, 0.8), "level": 0.95, "method": "identity"}
    records += [record("verification", "both", "AUC", 0.7, **common, **interval)]
    records += [record("verification", "both", "EER", 0.3, **common)]
    listed = {"name": "my[list]", "source": "my[list].txt", "kind": "verification", "direction": "both"}
    return result(records, lists=[{**listed, "rows": 30_496, "scored": 30_000, "positives": 50}], absent=absent)


def shown(record: dict[str, Any]) -> str:
    return cell(record).replace(" ± ", "±").replace(" (", "(")


def find(records: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [r for r in records if all(r[k] == v for k, v in wanted.items())]
    return found


def test_rows_hold_what_the_records_say(scores: list[dict[str, Any]]):
    lines = printed(result(scores))
    assert lines[0] == "mine: 40 people, 120 voices, 80 faces"
    for stratum, words in (("U", "anybody"), ("GN", "same G and N"), ("female", "female probe, G")):
        accuracy = {"task": "matching", "protocol": "exact", "n": 2, "stratum": stratum}
        verified = {"task": "verification", "protocol": "exact", "stratum": stratum}
        wanted = [find(scores, **accuracy, direction=d) for d in ("v2f", "f2v")]
        wanted += [find(scores, **verified, metric=m) for m in ("AUC", "EER")]
        assert row(lines, "1:2 matching", words) == [str(wanted[0]["identities"]), *map(shown, wanted)]
    whole = {"task": "retrieval", "protocol": "whole_split", "stratum": "U", "direction": "f2v"}
    metrics = ("mAP", "R@1", "R@5", "R@10", "R@50", "R@100", "median_rank")
    found = [find(scores, **whole, metric=m) for m in metrics]
    assert row(lines, "retrieval over", "face → 120 voices") == [shown(r) for r in found]
    many = [find(scores, task="matching", direction="v2f", stratum="U", protocol="exact", n=n) for n in (3, 5, 10, 20)]
    assert row(lines, "1:N", "anybody      voice → face") == [shown(r) for r in many]
    same = [find(scores, task="matching", direction=d, stratum="U", protocol="same_video") for d in ("v2f", "f2v")]
    assert row(lines, "voice and face of one video", "same ")[1:3] == [shown(r) for r in same]


def test_every_table_fits_and_prints_numbers_alone(whole: dict[str, Any]):
    for width in (80, 100, 130, 160):
        for everything in (False, True):
            lines = printed(whole, everything, width)
            assert max(map(len, lines)) <= width
            if width == 80:  # the protocols' tables go on in a second line
                continue
            text = "\n".join(lines)
            assert "…" not in text
            assert not any(word in text.lower().split() for word in ("nan", "none", "inf", "null"))
            for line in lines:  # a row that does not fit would go on in a line without a label
                assert not line.startswith("  ") or line.split()[0] in ("ideal", "chance") or "±" not in line, line


def test_the_headline_is_short_and_all_holds_the_rest(whole: dict[str, Any]):
    headline, everything = printed(whole), printed(whole, everything=True)
    assert len(headline) < 75 < len(everything)
    for title in ("trial lists", "protocols of the papers", "voice and face of one video, or of two"):
        assert title in headline
    for title in (
        "retrieval among people alike",
        "1:2 matching, all triplets alike",
        "retrieval in the galleries of the papers",
        "joint scores: means of m clips",
    ):
        assert title not in headline
        assert title in everything
    assert "trinet gallery: needs 100 people with 40 voices and 5 faces, there are 0" in everything
    assert row(everything, "retrieval in the galleries", "trinet   both ways") == ["-"] * 7
    assert row(headline, "trial lists", "my[list]  verification") == ["30,000", "30,496", "70.0±10.0", "30.0"]


def test_sampled_values_stand_beside_the_exact_ones(whole: dict[str, Any]):
    lines = printed(whole)
    records = whole["scores"]
    for stratum, words in (("U", "anybody"), ("G", "same gender")):
        kim = {"task": "matching", "direction": "v2f", "stratum": stratum}
        wanted = [find(records, protocol=p, **kim) for p in ("kim", "kim_exact")]
        found = next(line for line in lines if line.startswith("kim") and "voice → face" in line and words in line)
        assert found.replace(" ± ", "±").split()[-3:] == [*map(shown, wanted), "50.0"]
    assert any("sampled: ± covers the drawing of the trials only (trinet: 99 % interval)." in line for line in lines)


def test_the_ideal_observer_and_the_share_of_its_excess():
    scores, ideal = score(*sides(2.0), TABLE), score(*sides(0.1), TABLE)
    lines = printed(result(scores, ideal_observer=ideal))
    accuracy = {"task": "matching", "protocol": "exact", "n": 2, "stratum": "G"}
    cells = []
    for direction in ("v2f", "f2v"):
        mine, best = (find(records, **accuracy, direction=direction)["value"] for records in (scores, ideal))
        share = f"{100 * (mine - 0.5) / (best - 0.5):.0f}"
        cells += [shown(find(scores, **accuracy, direction=direction)), percent(best), share]
    assert row(lines, "1:2 matching", "same gender")[1:7] == cells
    assert "share: how much of the best possible (ideal) score above chance the model reaches." in lines
    narrow = printed(result(scores, ideal_observer=ideal), width=80)
    assert row(narrow, "1:2 matching", "same gender")[1:] == cells
    verified = [find(scores, task="verification", protocol="exact", stratum="G", metric=m) for m in ("AUC", "EER")]
    assert row(narrow, "verification", "same gender") == [shown(r) for r in verified]
    assert "R@5 and R@50: in terminals of 96 columns and more." in narrow
    assert max(map(len, narrow)) <= 80
    wide = printed(result(scores, ideal_observer=ideal), width=104)
    assert row(wide, "1:2 matching", "same gender")[1:] == [*cells, *(shown(r) for r in verified)]
    assert "verification" not in wide


def test_a_constant_model_is_at_chance_in_every_row():
    voices, voice_identity, faces, face_identity = sides(1.0)
    lines = printed(result(score(np.ones_like(voices), voice_identity, np.ones_like(faces), face_identity, TABLE)))
    assert row(lines, "1:2 matching", "anybody") == ["40", *["50.0±0.0"] * 4]
    found, chances = row(lines, "retrieval over", "voice → 80 faces"), row(lines, "retrieval over", "  chance")
    assert [value.partition("±")[0] for value in found] == chances


def test_what_does_not_exist_is_a_dash(scores: list[dict[str, Any]]):
    empty = [{**r, "value": None, "ci_low": None} if r["stratum"] == "G" else r for r in scores]
    assert row(printed(result(empty)), "1:2 matching", "same gender")[1:] == ["-"] * 4


def test_only_some_records(scores: list[dict[str, Any]]):
    assert printed(result([]))[0].startswith("mine: 40 people")
    only = [r for r in scores if r["task"] == "matching" and r["n"] == 2 and r["protocol"] == "exact"]
    text = "\n".join(printed(result(only), everything=True))
    assert "1:2 matching" in text
    assert "retrieval" not in text
    assert "AUC and EER" in text


def test_captions_say_what_the_reader_must_know(scores: list[dict[str, Any]]):
    some = result([{**r, "error_bound": 0.004 if r["task"] == "verification" else 0.0} for r in scores])
    more = {"skipped": 3, "synthetic": True, "similarity": "matrix", "one_modality": 2, "unknown_identities": 1}
    text = "\n".join(printed({**some, "data": {**some["data"], **more, "corpus": "faces", "split": "val"}}))
    for words in (
        "mine on faces (val: 40 people, 120 voices, 80 faces)",
        "± is half the 95 % interval; people are the sampling unit",
        "AUC and EER are exact to within 0.40.",
        "Compared by the matrix given.",
        "2 people lack voices or faces",
        "Of 1 people no attribute is known.",
        "3 damaged clips were left out.",
        "these numbers say nothing about real people",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("value", "ends", "metric", "text"),
    [
        (0.794, (0.77, 0.818), "AUC", "79.4 ± 2.4"),
        (0.794, (0.7937, 0.7943), "AUC", "79.40 ± 0.03"),
        (1.0, (1.0, 1.0), "AUC", "100.0 ± 0.0"),
        (0.0043, None, "mAP", "0.43"),
        (0.5, None, "mAP", "50.0"),
        (0.0, None, "EER", "0.0"),
        (None, None, "mAP", "-"),
        (12345.5, None, "median_rank", "12,345.5"),
        (7.0, None, "median_rank", "7"),
    ],
)
def test_cells(value: float | None, ends: tuple[float, float] | None, metric: str, text: str):
    common: dict[str, Any] = {"n": 2, "chance": 0.5, "identities": 3, "trials": 3, "ties": 0, "protocol": "exact"}
    assert cell(record("retrieval", "v2f", metric, value, interval=ends, level=0.95, **common)) == text


def test_letters_of_strata_in_words():
    assert letters(["U", "G", "N", "GN", "female"]) == "G: gender, N: nationality"
    assert letters(["U", "male"]) == "G: gender"
    assert letters(["U", "G", "A"]) == ""


def test_strata_in_words():
    assert [stratum_name(s) for s in ("U", "G", "NA", "GEFA", "male")] == [
        "anybody", "same gender", "same N and A", "same G, E, F and A", "male probe, G",
    ]  # fmt: skip
