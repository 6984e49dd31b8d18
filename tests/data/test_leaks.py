"""Leaks between corpora, and between a checkpoint and a corpus."""

import json
from pathlib import Path

from tests_support import tone_person

from voiceface.cli import main
from voiceface.data.corpus.bundles import Clip, Person
from voiceface.data.corpus.check import check_corpus
from voiceface.data.corpus.leaks import (
    corpus_leaks,
    identical_clips,
    identities_of,
    leaking_identities,
    read_training_identities,
)
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.prepare.synthetic import prepare_synthetic
from voiceface.data.synthetic import SyntheticOptions

Job = tuple[int, str, str, str]  # number of the tones, name, split, prefix of its sources


def person(job: Job) -> Person:
    """A person of `tone_person` under another name; the number says what the clips hold."""
    number, name, split, folder = job
    made = tone_person((number, (split, 2, 2)))

    def renamed(clip: Clip) -> Clip:
        file = clip.key.rpartition("/")[2]
        return Clip(f"{name}/{file}", clip.data, source=f"{folder}/{file}" if folder else "")

    return Person(name, split, tuple(map(renamed, made.voices)), tuple(map(renamed, made.faces)))


def corpus(out: Path, people: list[Job]) -> Corpus:
    build(out, people, person, {}, CorpusOptions(out.name, face_size=40), {"command": "test"}, workers=1)
    return Corpus(out)


def leaks(here: Corpus, there: Corpus) -> dict[tuple[str, str, str], list[str]]:
    found = corpus_leaks(here, check_corpus(here).clips, there, check_corpus(there).clips)
    return {(leak.what, leak.trained, leak.tested): leak.names for leak in found}


def test_each_kind_of_leak_is_found_by_itself_and_in_its_direction(tmp_path):
    a = corpus(tmp_path / "a", [(1, "one", "train", "x"), (2, "two", "test", "y"), (3, "three", "val", "z")])
    apart = corpus(tmp_path / "apart", [(5, "five", "train", "v"), (6, "six", "test", "w")])
    assert leaks(a, apart) == {}
    same_name = corpus(tmp_path / "name", [(5, "five", "train", "v"), (6, "one", "test", "w")])
    assert leaks(a, same_name) == {("identities", f"{a.root} (train)", f"{same_name.root} (test)"): ["one"]}
    assert leaks(same_name, a) == leaks(a, same_name)
    same_source = corpus(tmp_path / "source", [(5, "five", "train", "y"), (6, "six", "test", "w")])
    assert leaks(a, same_source) == {
        ("source files", f"{same_source.root} (train)", f"{a.root} (test)"): ["y/f00", "y/f01", "y/v00", "y/v01"]
    }
    same_clips = corpus(tmp_path / "clips", [(2, "five", "train", "v"), (6, "six", "test", "w")])
    assert leaks(a, same_clips) == {
        ("identical clips", f"{same_clips.root} (train)", f"{a.root} (test)"): [
            "two/f00",
            "two/f01",
            "two/v00",
            "two/v01",
        ]
    }


def test_validation_and_equal_splits_are_no_leak(tmp_path):
    a = corpus(tmp_path / "a", [(1, "one", "train", "x"), (2, "two", "test", "y"), (3, "three", "val", "z")])
    b = corpus(tmp_path / "b", [(1, "one", "train", "x"), (2, "two", "test", "y"), (3, "three", "val", "z")])
    assert leaks(a, b) == {}


def test_clips_without_a_known_source_share_none(tmp_path):
    a = corpus(tmp_path / "a", [(1, "one", "train", ""), (2, "two", "test", "")])
    b = corpus(tmp_path / "b", [(3, "three", "train", ""), (4, "four", "test", "")])
    assert leaks(a, b) == {}


def test_identical_clips_of_two_splits_are_noted(tmp_path):
    a = corpus(tmp_path / "a", [(1, "one", "train", "x"), (1, "two", "test", "y"), (3, "three", "test", "z")])
    found = check_corpus(a)
    assert found.problems == []
    # The two pictures of a person of these tones are the same, so only the first is named.
    pairs = {tuple(sorted(line.split(" = "))) for line in identical_clips(found.clips)}
    assert {pair for pair in pairs if "/v" in pair[0]} == {
        (f"one/{name} (train)", f"two/{name} (test)") for name in ("v00", "v01")
    }
    assert {two for _, two in pairs} == {f"two/{name} (test)" for name in ("v00", "v01", "f00", "f01")}


def test_synthetic_people_of_other_seeds_are_other_people(tmp_path):
    made = []
    for name, seed, people in (("a", 0, 8), ("b", 1, 8), ("c", 0, 12)):
        prepare_synthetic(tmp_path / name, SyntheticOptions(people, 1, 1, seed), workers=1)
        made.append(Corpus(tmp_path / name))
    a, b, c = made
    everybody = [set().union(*(identities_of(corpus, split) for split in ("train", "val", "test"))) for corpus in made]
    assert everybody[0].isdisjoint(everybody[1])
    assert everybody[0] < everybody[2]
    assert not any("identities" in leak for leak in leaks(a, b))
    found = leaks(a, c)
    ways = [(a, c), (c, a)]
    expected = {(x.root, y.root): identities_of(x, "train") & identities_of(y, "test") for x, y in ways}
    assert any(expected.values())
    for (x, y), people in expected.items():
        places = f"{x} (train)", f"{y} (test)"
        assert set(found.get(("identities", *places), [])) == people
        assert {key.rpartition("/")[0] for key in found.get(("identical clips", *places), [])} == people


def test_the_command_refuses_leaks_in_one_line(tmp_path, capsys):
    a = corpus(tmp_path / "a", [(1, "one", "train", "x"), (2, "two", "test", "y")])
    b = corpus(tmp_path / "b", [(3, "three", "train", "v"), (4, "one", "test", "w")])
    c = corpus(tmp_path / "c", [(5, "five", "train", "t"), (6, "six", "test", "u")])
    assert main(["check", a.root, "--against", c.root]) == 0
    assert f"against {c.root}: nothing is shared" in capsys.readouterr().out
    assert main(["check", a.root, "--against", b.root]) == 2
    assert capsys.readouterr().err == (
        f"voiceface: {b.root} (test): 1 identities are in {a.root} (train) as well, such as one\n"
    )
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text("{}")
    assert main(["check", a.root, "--against", str(old)]) == 2
    assert "does not say who it was trained on" in capsys.readouterr().err
    (old / "identities.txt").write_text("nobody\ntwo\n")
    assert main(["check", a.root, "--against", str(old)]) == 2
    assert "such as two" in capsys.readouterr().err
    assert main(["check", b.root, "--against", str(old)]) == 0
    capsys.readouterr()
    for words in (["--against", str(tmp_path / "none")], ["--trials", str(tmp_path / "none.txt")]):
        assert main(["check", a.root, *words]) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"voiceface: {' '.join(words)}: no such f")
        assert not said.out  # before the clips are looked at


def test_a_checkpoint_knows_whom_it_was_trained_on_and_a_test_on_them_is_marked(tmp_path, monkeypatch, capsys):
    for name in ("PL_GLOBAL_SEED", "VOICEFACE_RUN_FOLDER"):
        monkeypatch.setenv(name, "0")  # what fit sets here is undone afterwards
    people = [(i, f"p{i}", split, f"s{i}") for i, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 3)]
    a = corpus(tmp_path / "a", people)  # type: ignore[arg-type]
    swapped = corpus(tmp_path / "b", [(i, f"p{i}", "test" if i < 2 or i > 8 else "train", f"s{i}") for i in range(11)])
    run = tmp_path / "run"
    options = ["--data.people", "3", "--data.workers", "0", "--trainer.max_steps", "1", "--model.face_margin", "1"]
    assert main(["fit", "--model", "trinet", "--preset", "demo", "--data", a.root, "--out", str(run), *options]) == 0
    trained = read_training_identities(run / "checkpoint")
    assert trained == {f"p{i}" for i in range(6)}
    assert json.loads((run / "results.json").read_text())["data"]["leaking_identities"] == 0
    assert leaking_identities(trained, swapped, "test") == ["p0", "p1"]
    out = tmp_path / "results.json"
    words = ["test", str(run / "checkpoint"), "--out", str(out), "--workers", "0", "--data", swapped.root]
    capsys.readouterr()
    assert main(words) == 0
    assert "was trained on 2 people of the test split, such as p0" in capsys.readouterr().err
    assert json.loads(out.read_text())["data"]["leaking_identities"] == 2
    (run / "checkpoint" / "identities.txt").unlink()
    assert main(words) == 0
    assert "was trained on" not in capsys.readouterr().err
    assert json.loads(out.read_text())["data"]["leaking_identities"] is None


def test_what_is_not_known_is_not_called_sound(tmp_path):
    a = corpus(tmp_path / "a", [(1, "one", "train", "x"), (2, "two", "test", "y")])
    assert leaking_identities(None, a, "test") is None
    assert leaking_identities([], a, "test") == []
    assert read_training_identities(tmp_path) is None
