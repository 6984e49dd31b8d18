"""What is compared and what is left out: real files and folders, each way of being bad, installed packages."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_support import change_config, save
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.compare import reading
from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import find_results, installed_results, reference_results
from voiceface.compare.render.formats import render
from voiceface.compare.render.plot_data import plot_data
from voiceface.evaluation.result_schema import DATA
from voiceface.evaluation.results import content_hash, read_results, write_results
from voiceface.scores import score
from voiceface.scores.confidence import student_interval
from voiceface.utils.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "results"
OWNER = np.repeat([f"p{i}" for i in range(8)], 2).tolist()


def made(path: Path, seed: int = 0, **model: Any) -> Path:
    """A result of random similarities."""
    similarity = np.random.default_rng(seed).normal(size=(16, 16))
    records = score(None, OWNER, None, OWNER, similarity=similarity, strata=["U"], candidates=())
    about = {"recipe": f"m{seed}", "method": "embeddings", **dict.fromkeys(("arguments", "parameters"))}
    about |= {"checkpoint": f"{seed:064d}", "training_data": None, **model}
    counts = {"identities": 8, "voices": 16, "faces": 16, "skipped": 0}
    data = dict.fromkeys(DATA) | counts | {"clips_sha256": "ab"}
    sections = {"schema": 2, "model": about, "data": data, "environment": {}, "scores": records}
    write_results(path, sections)
    return path


def names(found: list[reading.Found]) -> list[str]:
    return [one.results["model"]["recipe"] for one in found]


def one_bad(bad: Path, good: Path) -> str:
    """Why a file is left out beside a good one, in a line that does not repeat its name."""
    found, left_out = find_results([bad, good])
    assert [one.path for one in found] == [good]
    ((path, why),) = left_out
    assert path == str(bad)
    assert "\n" not in why
    assert not why.startswith(str(bad))
    return why


def test_every_kind_of_path_leads_to_its_results(tmp_path: Path):
    file = made(tmp_path / "a" / "named.json", 0)
    run = made(tmp_path / "runs" / "x" / "results.json", 1).parent
    packed = made(tmp_path / "p" / "r.json", 2)
    packed.with_suffix(".json.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    made(tmp_path / "compare" / "m" / "seed-0" / "results.json", 3)
    made(tmp_path / "compare" / "m" / "seed-1" / "results.json", 4)
    (tmp_path / "compare" / "compare.json").write_text('{"schema": 1, "models": []}')
    paths = [file, run, packed.with_suffix(".json.gz"), tmp_path / "compare"]
    found, left_out = find_results(paths)
    assert names(found) == ["m0", "m1", "m2", "m3", "m4"]
    assert left_out == []
    for one in found:
        effects = one.effects()
        assert effects is not None
        assert one.unpaired == ""
        assert {len(own) for own in effects.values()} == {8}
    assert names(find_results([tmp_path])[0]) == ["m0", "m3", "m4", "m2", "m1"]  # by the names of folders
    assert names(find_results([tmp_path / "a"])[0]) == ["m0"]


def test_a_checkpoint_folder_leads_to_the_result_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = made(tmp_path / "run" / "results.json", 0).parent
    checkpoint = run / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").touch()
    (checkpoint / "config.json").write_text(json.dumps({"sha256": f"{0:064d}"}))
    assert [one.path for one in find_results([checkpoint])[0]] == [run / "results.json"]
    assert len(find_results([run])[0]) == 1
    monkeypatch.chdir(checkpoint)
    assert names(find_results([Path()])[0]) == ["m0"]
    made(checkpoint / "results.json", 1)  # as an installed one has it
    with pytest.raises(UserError, match="the result of other weights than those of the checkpoint in its folder"):
        find_results([checkpoint])
    (checkpoint / "config.json").write_text(json.dumps({"sha256": f"{1:064d}"}))
    assert names(find_results([checkpoint])[0]) == ["m1"]
    (checkpoint / "results.json").unlink()
    (checkpoint / "config.json").write_text(json.dumps({"sha256": "others"}))
    with pytest.raises(UserError, match=r"a checkpoint without its result; `voiceface test .*checkpoint` makes one"):
        find_results([checkpoint])


def test_a_search_ends_three_folders_down_and_passes_over_other_files(tmp_path: Path):
    made(tmp_path / "1" / "2" / "3" / "results.json", 0)
    made(tmp_path / "1" / "2" / "3" / "4" / "results.json", 1)
    made(tmp_path / "other" / "1" / "2" / "3" / "results.json", 2)
    made(tmp_path / ".hidden" / "results.json", 3)
    for name, text in (("config.json", "{}"), ("list.json", "[1]"), ("scores.json", '{"scores": []}')):
        (tmp_path / name).write_text(text)
    (tmp_path / "1" / "again").symlink_to(tmp_path)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.yaml").touch()
    (unfinished / "metrics.csv").touch()
    found, left_out = find_results([tmp_path])
    assert names(found) == ["m0"]
    told = {str(Path(path).relative_to(tmp_path)): why for path, why in left_out}
    assert "not a voiceface result" in told.pop("scores.json")
    assert "it has not ended" in told.pop("unfinished")
    assert all("again" in path for path in told), told


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[:-20], "not readable as JSON"),
        (lambda b: b"", "it is empty"),
        (lambda b: b.replace(b'"recipe": "m1"', b'"recipe": "m9"'), "changed after it was written"),
        (lambda b: b.replace(b'"schema": 2', b'"schema": 3'), "result schema 3, .*update voiceface"),
        (lambda b: b.replace(b'"value": 0', b'"value": NaN, "x": 0', 1), "it holds NaN"),
        (lambda b: b.replace(b'"value": 0', b'"value": 1e999, "x": 0', 1), "has the fields"),
        (lambda b: b'{"train/loss": 3}', "not a voiceface result"),
        (lambda b: os.urandom(2000), "not readable as JSON"),
    ],
)
def test_a_bad_file_is_named_and_left_out(tmp_path: Path, spoil: Callable[[bytes], bytes], message: str):
    good, bad = made(tmp_path / "good.json", 0), made(tmp_path / "bad.json", 1)
    whole = bad.read_bytes()
    bad.write_bytes(spoil(whole))
    assert bad.read_bytes() != whole
    with pytest.raises(UserError, match=message) as error:
        find_results([bad])
    assert str(error.value) == f"there is no result to compare: {bad}: {one_bad(bad, good)}"


def test_sealed_values_that_are_no_scores_are_refused(tmp_path: Path):
    good, bad = made(tmp_path / "good.json", 0), made(tmp_path / "bad.json", 1)
    for value, message in ((1.5, "has the value 1.5"), (-0.1, "has the value -0.1"), ("0.5", "has the value '0.5'")):
        results = json.loads(bad.read_text())
        results["scores"][0]["value"] = value
        results["sha256"] = content_hash(results)
        bad.write_text(json.dumps(results))
        assert message in one_bad(bad, good)
    # Python's JSON reads a number beyond all bounds as infinity.
    bad.write_text(json.dumps(results).replace('"value": "0.5"', '"value": 1e999'))
    assert "has the value inf" in one_bad(bad, good)


def test_what_cannot_be_read_is_named(tmp_path: Path):
    good = made(tmp_path / "good.json", 0)
    assert one_bad(tmp_path / "none.json", good) == "no such result file"
    (tmp_path / "empty").mkdir()
    assert one_bad(tmp_path / "empty", good) == "no result in this folder, nor up to 3 folders below it"
    assert "cannot be read (" in one_bad(good / "below", good)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(200 * 2**20 + 1)
    assert "over 200 MiB" in one_bad(huge, good)
    huge.unlink()
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    assert "cannot be read (" in one_bad(loop, good)
    with pytest.raises(UserError, match=r"no result to compare: .*none\.json: no such result file \(and 1 more\)"):
        find_results([tmp_path / "none.json", tmp_path / "empty"])
    with pytest.raises(UserError, match="no file or folder is named"):
        find_results([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(tmp_path: Path):
    good, bad = made(tmp_path / "good.json", 0), made(tmp_path / "bad.json", 1)
    bad.chmod(0)
    assert one_bad(bad, good) == "cannot be read (permission denied)"


def test_one_result_in_two_files_is_kept_once(tmp_path: Path):
    first = made(tmp_path / "first.json", 0)
    copy = tmp_path / "copy.json"
    shutil.copy(first, copy)
    again = made(tmp_path / "again.json", 0)  # tested once more, on another day
    results = json.loads(again.read_text()) | {"environment": {"date": "2027-01-01"}}
    again.write_text(json.dumps(results | {"sha256": content_hash(results)}))
    made(tmp_path / "other.json", 0, recipe="other")  # as good as another model, and still another one
    found, left_out = find_results([first, tmp_path, copy, again, first])
    assert names(found) == ["m0", "other"]
    assert found[0].path == first
    told = [(Path(path).name, why) for path, why in left_out]
    assert ("copy.json", f"the same result as {first}, which is kept") in told
    assert ("again.json", f"the same result as {first}, which is kept") in told
    assert ("first.json", f"named twice: it is {first}") in told


def test_of_two_files_of_one_result_that_which_can_be_paired_is_kept(tmp_path: Path):
    whole = made(tmp_path / "whole.json", 0)
    torn = tmp_path / "elsewhere" / "whole.json"
    torn.parent.mkdir()
    shutil.copy(whole, torn)
    for paths in ([torn, whole], [whole, torn]):
        found, left_out = find_results(paths)
        assert [one.path for one in found] == [whole]
        assert left_out == [(str(torn), f"the same result as {whole}, which is kept")]


@pytest.mark.parametrize("damage", ["missing", "cut", "another's"])
def test_a_result_without_its_effects_is_compared_without_pairing(tmp_path: Path, damage: str):
    first, second = made(tmp_path / "first.json", 0), made(tmp_path / "second.json", 1)
    beside = tmp_path / "second.effects.npz"
    if damage == "missing":
        beside.unlink()
    elif damage == "cut":
        beside.write_bytes(beside.read_bytes()[:-1])
    else:
        shutil.copy(tmp_path / "first.effects.npz", beside)
    found, left_out = find_results([first, second])
    assert left_out == []
    assert [one.effects() is None for one in found] == [False, True]
    assert str(beside) in found[1].unpaired
    (group,) = compare_results(found).groups
    tested = {row.name: [cell.p_value for cell in row.cells] for row in group.rows if row.kind == "model"}
    assert set(tested) == {"m0", "m1"}
    assert {p for values in tested.values() for p in values} == {None}


def install(site: Path, name: str, package: str, value: str | None = None) -> Path:
    """What installing a wheel leaves: a checkpoint in a package whose code must not run, and its metadata."""
    folder = save(site / Path(*package.split(".")))
    change_config(folder, name=name)
    (folder / "results.json").unlink()
    for level in range(len(package.split("."))):
        (site / Path(*package.split(".")[: level + 1]) / "__init__.py").write_text("raise SystemExit('imported')\n")
    info = site / f"{package.replace('.', '_')}_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[voiceface.checkpoints]\n{name} = {value or package}\n")
    return folder


def of_weights(folder: Path, seed: int) -> Path:
    """A result of the weights in a folder."""
    return made(folder / "results.json", seed, checkpoint=json.loads((folder / "config.json").read_text())["sha256"])


def test_installed_checkpoints_are_read_and_none_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = installed_results()
    site, editable = tmp_path / "site", tmp_path / "editable"
    folder = install(site, "b_model", "zoo_b")
    of_weights(folder, 0)
    record = "".join(f"zoo_b/{file.name},,\n" for file in folder.iterdir())
    (site / "zoo_b_b_model-1.0.dist-info" / "RECORD").write_text(record)
    of_weights(install(editable, "a_model", "space.zoo_a", "space.zoo_a:load"), 1)
    install(site, "untested", "zoo_c")
    install(site, "gone", "zoo_d", "never_there.at_all")
    spoilt = of_weights(install(site, "spoilt", "zoo_e"), 2)
    spoilt.write_bytes(spoilt.read_bytes()[:-9])
    made(install(site, "other", "zoo_f") / "results.json", 3)
    for package in ("zoo_g", "zoo_h"):
        of_weights(install(site, "twice", package), 4)
    changed = of_weights(install(site, "changed", "zoo_i"), 5)
    changed.write_text(changed.read_text().replace('"voices": 16', '"voices": 17'))
    for folder in (site, editable):
        monkeypatch.syspath_prepend(folder)
    found, left_out = installed_results()
    new = [one for one in found if one.path not in {old.path for old in before[0]}]
    assert names(new) == ["m1", "m0"]
    assert all(one.effects() for one in new)
    told = dict(item for item in left_out if item not in before[1])
    assert told.pop("checkpoint untested") == "not tested: it has no results.json"
    assert "never_there.at_all holds no config.json" in told.pop("checkpoint gone")
    assert "not readable as JSON" in told.pop("checkpoint spoilt")
    assert "results.json is of other weights" in told.pop("checkpoint other")
    assert "claimed by zoo_g-twice and by zoo_h-twice" in told.pop("checkpoint twice")
    assert "changed after it was written" in told.pop(str(changed))
    assert not told
    named, without = find_results([Path("b_model"), Path("A.model"), Path("untested"), Path("twice"), Path("nobody")])
    assert names(named) == ["m0", "m1"]
    assert [what for what, _ in without] == ["checkpoint untested", "checkpoint twice", "nobody"]


def test_the_results_that_come_with_voiceface_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert [one.unpaired for one in reference_results() if one.unpaired] == []
    monkeypatch.setattr(reading, "REFERENCE", tmp_path)
    assert reference_results() == []
    path = made(tmp_path / "m" / "results.json", 0)
    packed = path.with_suffix(".json.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert names(reference_results()) == ["m0"]
    (tmp_path / "m/results.effects.npz").unlink()
    with pytest.raises(
        UserError, match=r"results\.json\.gz: .*results\.effects\.npz: missing .*; install voiceface again"
    ):
        reference_results()
    packed.write_bytes(b"")
    with pytest.raises(UserError, match="install voiceface again"):
        reference_results()


def test_reading_needs_no_torch_and_no_compiler(tmp_path: Path):
    made(tmp_path / "a.json", 0)
    program = (
        "import sys; from pathlib import Path; from voiceface.compare.reading import find_results; "
        f"print(len(find_results([Path({str(tmp_path)!r})])[0]), {{'torch', 'numba', 'scipy'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1 set()\n"


# Files as past versions wrote them. They are never made anew: a change of the schema adds a file.
HASHES = {
    "schema1.json": "e2fa287ddd3316c9137d32bee02302106b66ab78c03649a6bdfd1f0cb39ad8a7",
    "schema2.json": "93d4dea8aa887177627e1284cda114d21ffbf935c03083ea69943173a3622012",
    "schema2.effects.npz": "66ba9dcfd15f1acbf9f5d741929d3ece01e5da9dfae2702f086890d01cc5fcd8",
}


def test_the_golden_files_are_those_of_the_past():
    assert {path.name for path in GOLDEN.iterdir()} == {*HASHES, "table.json"}
    for name, wanted in HASHES.items():
        assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == wanted, name


def test_files_of_every_past_schema_give_their_table():
    found, left_out = find_results([GOLDEN / "schema1.json", GOLDEN / "schema2.json"])
    assert left_out == []
    assert [one.results["schema"] for one in found] == [1, 2]
    assert "schema 1" in found[0].unpaired
    tasks = ["AUC", "AUC/GNA", "EER", "1:2", "1:2/G", "1:3", "1:10", "mAP", "R@10", "median_rank"]
    table = {
        row.name if row.kind == "model" else f"{row.kind} of {group.data['identities']}": {
            column.name: [cell.value, cell.low, cell.high]
            for column, cell in zip(group.columns, row.cells, strict=True)
            if cell.value is not None
        }
        for group in compare_results(found, tasks).groups
        for row in group.rows
    }
    assert table == json.loads((GOLDEN / "table.json").read_text())


def test_the_effects_of_the_golden_file_give_its_intervals():
    ((one,), _) = find_results([GOLDEN / "schema2.json"])
    effects = one.effects()
    assert effects is not None
    assert len(effects) >= 8
    for number, own in effects.items():
        record = one.results["scores"][number]
        if record["metric"][:2] != "R@":
            assert student_interval(record["value"], own) == pytest.approx(
                (record["ci_low"], record["ci_high"]), abs=1e-4
            )


def test_the_first_files_of_schema_1_said_less(tmp_path: Path):
    results = json.loads((GOLDEN / "schema1.json").read_text())
    del results["data"]["skipped"], results["ideal_observer"]
    for record in results["scores"]:
        del record["error_bound"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    read = read_results(path)
    assert read["data"]["skipped"] == 0
    assert {record["error_bound"] for record in read["scores"]} == {0.0}
    (group,) = compare_results(find_results([path])[0]).groups
    assert [row.name for row in group.rows] == ["trinet", "chance"]


PARTS = ("model", "data", "environment", "training", "scores")
ODD = (None, True, -1, 0, 3.7, 1e18, 10**30, "", "x", "\x1b[31m", [], [1], {}, {"a": 1})


@settings(max_examples=examples(80), deadline=None)
@given(st.sampled_from(PARTS), st.integers(0, 999), st.integers(0, 999), st.sampled_from(ODD), st.booleans())
def test_a_file_without_a_seal_that_was_edited_is_compared_or_named(
    part: str, at: int, deeper: int, odd: Any, gone: bool
):
    """Any entry of a file of schema 1 taken out or replaced: a table or a line, in every format."""
    results = json.loads((GOLDEN / "schema1.json").read_text())
    results["training"] = {"steps": 3, "seed": 1, "precision": "32-true", "curve": [[1, 0.5], [2, 0.6]]}
    place: Any = results[part]
    if part == "scores" or (part == "training" and deeper % 2):
        place = place[at % len(place)] if part == "scores" else place["curve"]
    key = sorted(place)[deeper % len(place)] if isinstance(place, dict) else deeper % len(place)
    if gone:
        del place[key]
    else:
        place[key] = odd
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        path.write_text(json.dumps(results))
        refused = ""
        try:
            comparison = compare_results(find_results([path])[0])
        except UserError as error:
            refused = str(error)
        if refused:
            assert f"{path}: " in refused
            assert "\n" not in refused
            return
    for form in ("table", "md", "latex", "csv", "json"):
        assert render(comparison, form)
    for group in comparison.groups:
        plot_data(group)
