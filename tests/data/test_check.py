"""`voiceface check`: every kind of damage is named, and nothing is named where there is none."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from remote_server import Server
from tests_support import tone_corpus

from voiceface.cli import main
from voiceface.data.corpus.check import attribute_coverage, check_corpus, corpus_problems
from voiceface.data.corpus.shards import Corpus
from voiceface.data.corpus.trial_coverage import list_coverage
from voiceface.utils.errors import UserError

PEOPLE = [("train", 3, 4)] * 3 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 3


@pytest.fixture
def root(make_corpus) -> Path:
    return make_corpus(PEOPLE, shard_bytes=100_000)


def describe_again(root: Path, name: str) -> None:
    """Make corpus.json vouch for a file as it is now."""
    described = json.loads((root / "corpus.json").read_text())
    digest = hashlib.sha256((root / name).read_bytes()).hexdigest()
    split, _, file = name.rpartition("/")
    if not split:
        described["identities_sha256"] = digest
    elif file == "index.csv":
        described["splits"][split]["index_sha256"] = digest
    else:
        (shard,) = [s for s in described["splits"][split]["shards"] if s["name"] == file]
        shard["sha256"] = digest
    (root / "corpus.json").write_text(json.dumps(described))


def test_every_clip_is_met_once_with_its_content(root):
    corpus = Corpus(root)
    found = check_corpus(corpus, deep=True)
    assert found.problems == []
    expected = []
    for split in ("train", "val", "test"):
        for bundle, member, data in corpus.clips(split):
            kind = {"v": "voice", "f": "face"}[member.name[0]]
            content = hashlib.blake2b(data, digest_size=16).digest()
            expected.append((split, kind, bundle.identity, member.key, member.source, content))
    assert sorted(found.clips) == sorted(expected)
    assert len(expected) == sum(voices + faces for _, voices, faces in PEOPLE)


def test_processes_find_the_same(root):
    shard = root / "train/000000.tar"
    shard.write_bytes(shard.read_bytes()[:50_000])
    here, there = (check_corpus(Corpus(root), deep=True, workers=n) for n in (1, 2))
    assert len(here.problems) == 2
    assert here == there


@pytest.mark.parametrize("member", ["v00.flac", "f00.jpg"])
def test_a_clip_that_does_not_decode_is_found_by_deep_alone(root, member):
    shard = root / "test/000000.tar"
    good = shard.read_bytes()
    place = good.index(member.encode() + b"\0") + 512
    place -= place % 512
    shard.write_bytes(good[:place] + b"\0" * 400 + good[place + 400 :])
    describe_again(root, "test/000000.tar")
    assert corpus_problems(Corpus(root)) == []
    (problem,) = corpus_problems(Corpus(root), deep=True)
    assert problem.startswith("test/000000.tar: p00")
    assert "does not decode" in problem


@pytest.mark.parametrize("name", ["identities.csv", "val/index.csv", "train/000000.tar"])
def test_a_file_that_changed_or_is_missing_is_named(root, name):
    good = (root / name).read_bytes()
    (root / name).write_bytes(good + b" ")
    assert any(line.startswith(f"{name}: its content is not") for line in corpus_problems(Corpus(root)))
    (root / name).unlink()
    assert any(line == f"{name}: missing" for line in corpus_problems(Corpus(root)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("identities.csv", ""),
        ("identities.csv", "garbage\nx\n"),
        ("identities.csv", "identity\np000\n"),
        ("val/index.csv", ""),
        ("val/index.csv", "garbage\nx\n"),
        ("val/index.csv", "shard,key,identity,offset,bytes,voices,faces\n000000.tar,k,p003,0,-100,1,1\n"),
        ("val/index.csv", "shard,key,identity,offset,bytes,voices,faces\n000000.tar,k,p003,-5,100,1,1\n"),
    ],
)
def test_a_table_that_is_none_is_a_problem_even_if_vouched_for(root, capsys, name, content):
    (root / name).write_text(content)
    describe_again(root, name)
    assert main(["check", str(root)]) == 2
    assert name in capsys.readouterr().out


def test_a_clip_without_a_key_is_a_problem_even_if_vouched_for(root, capsys):
    shard = root / "val/000000.tar"
    good = shard.read_bytes()
    assert b'{"key":' in good
    shard.write_bytes(good.replace(b'{"key":', b'{"kex":', 1))
    describe_again(root, "val/000000.tar")
    assert main(["check", str(root)]) == 2
    assert "is damaged ('key')" in capsys.readouterr().err


def test_wrong_counts_wrong_splits_and_strangers_are_named(root):
    described = json.loads((root / "corpus.json").read_text())
    described["splits"]["val"]["voices"] += 1
    (root / "corpus.json").write_text(json.dumps(described))
    table = (root / "identities.csv").read_text()
    (root / "identities.csv").write_text(table.replace("p000,train", "p000,test"))
    describe_again(root, "identities.csv")
    assert corpus_problems(Corpus(root)) == [
        "identities.csv: identity p000 is in train, the table says otherwise",
        "val/index.csv: 4 voices, corpus.json says 5",
    ]


def test_a_person_or_a_source_in_two_splits_is_named(root):
    for name in [path.name for path in (root / "train").iterdir()]:
        (root / "test" / name).write_bytes((root / "train" / name).read_bytes())
    described = json.loads((root / "corpus.json").read_text())
    described["splits"]["test"] = described["splits"]["train"]
    (root / "corpus.json").write_text(json.dumps(described))
    problems = corpus_problems(Corpus(root))
    assert "test: identity p000 is also in train" in problems
    assert "test: source p000/v00.wav is also in train" in problems
    assert "clip p000/v00 is stored 2 times" in problems


def test_attribute_coverage_is_the_share_of_known_values(root):
    rows = list(csv.DictReader((root / "identities.csv").open()))
    for row, nationality in zip(rows, ["IE", "", "", "US", "US", "", "", ""], strict=True):
        row["nationality"] = nationality
    with (root / "identities.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert attribute_coverage(Corpus(root)) == {
        "train": {"gender": 1.0, "nationality": pytest.approx(1 / 3)},
        "val": {"gender": 1.0, "nationality": 1.0},
        "test": {"gender": 1.0, "nationality": 0.0},
    }


def test_lists_resolve_by_the_rows_whose_clips_are_all_there(root, tmp_path):
    """Against a count by hand: p005 .. p007 are the test people, each with v00 .. v02 and f00 .. f02."""
    rows = [(f"p00{i}/v0{k}.wav", f"p00{j}/f0{k}.jpg", int(i == j)) for i in (5, 6) for j in (5, 6) for k in range(4)]
    (tmp_path / "pairs.csv").write_text(
        "voice-path,face-path,label\n" + "".join(f"{v},{f},{label}\n" for v, f, label in rows)
    )
    (tmp_path / "match.txt").write_text(
        "p005/v00.wav p005/f00.jpg p006/f00.jpg\np006/v01.wav p006/f01.jpg p000/f00.jpg\n"
    )
    (tmp_path / "search.txt").write_text("p005/v00.wav p006/v09.wav\np005/f01.jpg p006/f02.jpg p007/f09.jpg\n")
    names = ("pairs.csv", "match.txt", "search.txt")
    clips = check_corpus(Corpus(root)).clips
    pairs, match, search = list_coverage(clips, [tmp_path / name for name in names], {})
    assert (pairs.rows, pairs.resolved, pairs.clips, pairs.splits) == (16, 12, 16, ["test"])
    assert sorted(pairs.missing) == ["p005/f03.jpg", "p005/v03.wav", "p006/f03.jpg", "p006/v03.wav"]
    assert pairs.problem.startswith("list pairs: 4 of 16 rows cannot be resolved, 4 of 16 clips")
    assert (match.rows, match.resolved, match.missing, match.splits) == (2, 2, [], ["train", "test"])
    assert match.problem == ""
    assert (search.rows, search.resolved, sorted(search.missing)) == (2, 1, ["p006/v09.wav", "p007/f09.jpg"])
    assert search.problem


def test_up_to_one_per_cent_of_a_list_may_be_missing(root, tmp_path):
    def problem(missing: int) -> str:
        good = [f"p005/v00.wav p00{5 + i % 2}/f00.jpg" for i in range(200 - missing)]
        bad = [f"p005/v00.wav p006/f{50 + i}.jpg" for i in range(missing)]
        # Many distinct clips that are there, so that rows decide.
        (tmp_path / "list.txt").write_text("\n".join(good + bad) + "\n")
        (coverage,) = list_coverage(check_corpus(Corpus(root)).clips, [tmp_path / "list.txt"], {})
        return coverage.problem

    assert problem(0) == ""
    assert "3 of 200 rows" in problem(3)


def test_lists_may_name_people_by_other_ids(root, tmp_path):
    (tmp_path / "list.txt").write_text("One/v00.wav One/f00.jpg Two/f00.jpg\n")
    (tmp_path / "ids.csv").write_text("VoxCeleb1 ID,VGGFace1 ID\np005,One\np006,Two\n")
    words = ["check", str(root), "--trials", str(tmp_path / "list.txt")]
    assert main(words) == 2
    assert main([*words, "--identities", str(tmp_path / "ids.csv")]) == 0


def test_the_command_prints_what_it_found(root, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("p005/v00.wav p005/f00.jpg p006/f77.jpg\n")
    assert main(["check", str(root), "--deep"]) == 0
    out = capsys.readouterr().out
    assert f"{root}: whole, every clip decodes" in out
    assert f"\nnext: voiceface fit --model trinet --data {root} --preset demo\n" in out
    assert [line.split() for line in out.splitlines() if line.startswith("val")] == [["val", "2", "4", "4", "100.0%"]]
    assert main(["check", str(root), "--trials", str(tmp_path / "list.txt")]) == 2
    captured = capsys.readouterr()
    row = next(line for line in captured.out.splitlines() if line.startswith("list "))
    assert row.split()[:3] == ["list", "kind", "direction"]
    assert "1 of 1 rows cannot be resolved" in captured.err
    assert captured.err.count("\n") == 1
    assert main(["check", "--against", str(root)]) == 2
    assert "need a corpus" in capsys.readouterr().err


def test_a_remote_corpus_is_checked_in_the_cache(root, tmp_path, monkeypatch):
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "cache"))
    with Server(root) as server:
        corpus = Corpus(server.root)
        assert corpus_problems(corpus, deep=True) == []
        copy = corpus.path("test/000000.tar")
        copy.write_bytes(copy.read_bytes()[:-1] + b"x")
        (problem,) = corpus_problems(corpus)
        assert "test/000000.tar: its copy in the cache was damaged and is removed" in problem
        assert corpus_problems(corpus) == []
        (root / "val/000000.tar").write_bytes(b"other")
        monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "empty"))
        assert any("val/000000.tar: " in line for line in corpus_problems(Corpus(server.root)))


def test_an_unreadable_index_is_a_problem_and_no_crash(root):
    (root / "val/index.csv").write_text("shard,key\n000000.tar,a\n")
    describe_again(root, "val/index.csv")
    (problem,) = corpus_problems(Corpus(root))
    assert "val/index.csv is damaged" in problem
    with pytest.raises(UserError, match=r"val/index\.csv is damaged"):
        Corpus(root).index("val")


def test_a_corpus_of_two_splits_is_whole(tmp_path):
    assert corpus_problems(Corpus(tone_corpus(tmp_path / "c", [("train", 2, 2), ("test", 2, 2)]))) == []
