"""The official folders, laid out small with all their quirks, become a corpus; the official lists fit it."""

import csv
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

import benchmarks.data.voxceleb_tree as TREE
from voiceface.cli import main
from voiceface.data.corpus.check import corpus_problems
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.media.faces import FaceOptions
from voiceface.data.prepare.sources.people import Reading
from voiceface.data.prepare.voxceleb import VoxCelebOptions, people_of, plan, prepare_voxceleb
from voiceface.data.prepare.voxceleb.report import estimate
from voiceface.evaluation.embeddings import people_aliases
from voiceface.scores.clip_keys import locate
from voiceface.scores.trial_lists import read_trial_files
from voiceface.utils.errors import UserError

DATA = os.environ.get("VOICEFACE_TEST_DATA")
real = pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA is not set")
ASIS = Reading(face=FaceOptions(margin=1.3, minimum_side=16, size=32))


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """Six people of VoxCeleb1 and seven of VoxCeleb2, two of whom are silent; three voices and two faces each."""
    folder = tmp_path_factory.mktemp("laid")
    TREE.lay_out(folder, 6, 7, voices=3, faces=2)
    return folder


def places(folder, *trees):
    names = {"faces1": "unzippedFaces"}
    return {tree: folder / names.get(tree, tree) for tree in trees}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def clips_of(corpus):
    return {
        member.source: (split, bundle.identity, member)
        for split in ("train", "val", "test")
        if corpus.description["splits"][split]["shards"]
        for bundle, member, _ in corpus.clips(split)
    }


def test_both_data_sets_become_one_corpus(laid, tmp_path):
    before = contents(laid)
    trees = places(laid, "voxceleb1", "voxceleb2", "faces1", "vggface1", "vggface2")
    out = tmp_path / "corpus"
    made = prepare_voxceleb(out, VoxCelebOptions("trinet", **trees, reading=ASIS), workers=1)
    assert contents(laid) == before
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
    corpus = Corpus(out)
    assert corpus_problems(corpus, deep=True) == []
    assert (corpus.name, corpus.face_margin) == ("voxceleb1+voxceleb2-trinet", 1.3)
    assert corpus.description["plan"]["made_by"]["split"] == "trinet"
    # Who is who, by the table as it lies there, read in another way than the package reads it.
    folders = {}
    for table, tab in (("vox1_meta.csv", "\t"), ("vox2_meta.csv", ",")):
        for line in (laid / table).read_text("utf-8-sig").splitlines()[1:]:
            identity, face = (value.strip() for value in line.split(tab)[:2])
            folders |= {identity: identity, face: identity}
    silent = {"id00012", "id00013"}
    wanted = {}
    for name, path in trees.items():
        for file in path.rglob("*.*"):
            source = file.relative_to(path)
            owner = next((folders[part] for part in source.parts if part in folders), None)
            if file.is_file() and owner is not None and owner not in silent:
                wanted[str(source)] = (owner, "v" if name.startswith("vox") else "f")
    found = clips_of(corpus)
    assert {source: (owner, member.name[0]) for source, (_, owner, member) in found.items()} == wanted
    digits = [face for face, owner in folders.items() if face[0] == "n" and int(owner[2:]) != int(face[1:])]
    assert len(digits) > 3  # joining on digits would have failed
    for source, (split, owner, member) in found.items():
        official = "test" if source.startswith("test") else "dev"
        if owner.startswith("id1"):
            assert split == "test"
        elif source.endswith("m4a"):
            assert split == {"dev": "train", "test": "val"}[official]
        assert member.key.split("/")[0] == owner
        video = re.search(r"/([-\w]{11})/(\d+)\.", source)
        assert member.video == (video[1] if video else "")
        assert member.time == (int(video[2]) / 25 if "/1.6/" in source else None)
    assert any(member.video.startswith("-") for _, _, member in found.values())
    table = (out / "identities.csv").read_text()
    rows = {row["identity"]: row for row in csv.DictReader(table.splitlines())}
    assert set(rows) == {owner for owner, _ in wanted.values()}
    assert all(folders[row["vggface2"]] == i for i, row in rows.items() if row["vggface2"])
    assert not any(face in table for face in folders if not face.startswith(("n0", "id")))  # no names
    with (out / "rejects.csv").open() as file:
        rejects = {(row["path"], row["reason"]) for row in csv.DictReader(file)}
    stranger = "--vggface2: a folder of nobody in the metadata"
    assert rejects == {(f"{i}/", "no voices") for i in silent} | {(f"n90000{i}/", stranger) for i in (0, 1)}
    assert made.splits["test"] == {"identities": 6, "voices": 18, "faces": 24}
    # A listing leads to the same bytes.
    listed = {}
    for name, path in trees.items():
        (path / "files.txt").write_text("".join(f"./{p.relative_to(path)}\n" for p in path.rglob("*.*") if p.is_file()))
        listed[name] = path / "files.txt"
    prepare_voxceleb(tmp_path / "again", VoxCelebOptions("trinet", **listed, reading=ASIS), workers=1)
    for path in listed.values():
        path.unlink()
    assert contents(tmp_path / "again") == contents(out)


def test_the_order_in_which_files_are_met_changes_nothing(laid):
    folder = laid / "voxceleb1"
    paths = [str(path.relative_to(folder)) for path in folder.rglob("*.wav")] + ["odd.wav", "/odd.wav", "odder.wav"]
    listing = folder / "files.txt"
    plans = []
    for order in (paths, paths[::-1]):
        listing.write_text("\n".join(order))
        options = VoxCelebOptions("kim", voxceleb1=listing, vggface1=laid / "vggface1", reading=ASIS)
        plans.append(plan(options))
    listing.unlink()
    assert [reject.path for reject in plans[0].rejects] == ["/odd.wav", "odd.wav", "odder.wav"]
    assert plans[0] == plans[1]


def test_clips_of_one_video_can_be_kept_together(laid, tmp_path):
    options = VoxCelebOptions("pins", **places(laid, "voxceleb1", "faces1"), reading=ASIS)
    prepare_voxceleb(tmp_path / "corpus", options, workers=1, bundle="video")
    videos = defaultdict(set)
    for split in ("train", "val", "test"):
        for bundle, member, _ in Corpus(tmp_path / "corpus").clips(split):
            videos[bundle.key].add(member.video)
    assert len(videos) == 6
    assert all(len(shared) == 1 for shared in videos.values())
    with pytest.raises(UserError, match="--bundle video: only VoxCeleb1's crops say which video"):
        prepare_voxceleb(
            tmp_path / "x", VoxCelebOptions("pins", **places(laid, "voxceleb1", "vggface1")), bundle="video"
        )


def test_a_dry_run_says_what_is_there_and_writes_nothing(laid, tmp_path, capsys):
    before = contents(laid)
    words = ["prepare", "voxceleb", "--voxceleb1", str(laid / "voxceleb1"), "--vggface1", str(laid / "vggface1")]
    words += ["--split", "svhf", "--dry-run", "--missing", str(tmp_path / "missing.csv"), str(tmp_path / "corpus")]
    unheard = laid / "voxceleb1" / "dev" / "wav" / "id10003"
    unheard.rename(laid / "kept")
    assert main(words) == 0
    (laid / "kept").rename(unheard)
    printed = capsys.readouterr().out
    assert re.search(r"train +1 +924 +3 +2\n", printed)
    assert re.search(r"val +2 +112 +6 +4\n", printed)
    assert re.search(r"test +2 +189 +6 +4\n", printed)
    assert "VoxCeleb1: 15 of 153,516 voices; of 6 people 1 have no voices, 0 no faces, 0 neither" in printed
    assert re.search(r"fewest +split +voices +faces *\nid10003 +test +0 +2 *\n", printed)
    assert "nothing was prepared (--dry-run)" in printed
    assert contents(laid) == before
    assert [path.name for path in tmp_path.iterdir()] == ["missing.csv"]
    with (tmp_path / "missing.csv").open() as file:
        rows = {row.pop("identity"): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    common = {"dataset": "voxceleb1", "faces": "2"}
    assert rows["id10003"] == {**common, "split": "test", "voices": "0", "missing": "voices"}
    assert rows["id10001"] == {**common, "split": "val", "voices": "3", "missing": ""}


def test_a_size_grows_with_what_is_read():
    size, seconds = estimate(1000, 500, Reading())
    assert (2 * size, 2 * seconds) == pytest.approx(estimate(2000, 1000, Reading()))
    larger = estimate(0, 1000, Reading(face=FaceOptions(size=448)))
    assert larger[0] == pytest.approx(4 * estimate(0, 1000, Reading())[0])
    assert estimate(1000, 500, Reading(face=FaceOptions("detect")))[1] > seconds


def test_some_people_only(laid):
    options = VoxCelebOptions("pins", **places(laid, "voxceleb1", "faces1"), only="id10002,id10005")
    assert [job.identity for job in plan(options).jobs] == ["id10002", "id10005"]
    limited = plan(VoxCelebOptions("pins", **places(laid, "voxceleb1", "faces1"), limit=3))
    assert sorted(job.split for job in limited.jobs) == ["test", "train", "val"]
    assert set(limited.identities) == {job.identity for job in limited.jobs}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--split pins", "--voxceleb1 or --voxceleb2 is missing"),
        ("--split pins --voxceleb1 {}/voxceleb1", "--faces1 or --vggface1 is missing: --voxceleb1 needs faces"),
        ("--split pins --voxceleb1 {}/voxceleb1 --vggface2 {}/vggface2", "--faces1 or --vggface1 is missing"),
        (
            "--split trinet --voxceleb2 {0}/voxceleb2 --vggface2 {0}/vggface2 --faces1 {0}",
            "--voxceleb1 is missing: --f",
        ),
        (
            "--split pins --voxceleb1 {0}/voxceleb1 --vggface1 {0}/vggface1 --faces asis",
            "--margin is missing: --faces a",
        ),
        ("--voxceleb1 {0}/voxceleb1 --vggface1 {0}/vggface1", "--split"),
        ("--voxceleb1 {0}/voxceleb1/dev --voxceleb1 {0}/voxceleb1/test --split pins", "--voxceleb1: given twice"),
        ("--voxceleb1 {0}/none --vggface1 {0}/vggface1 --split svhf --bundle video", "--bundle video: only VoxCeleb1"),
        ("--split svhf --voxceleb1 {0}/vggface1 --vggface1 {0}/vggface1", "holds nothing such as wav/id10001/<video>"),
    ],
)
def test_mistakes_are_named_in_one_line(laid, tmp_path, capsys, words, message):
    words = [word.replace("{}", str(laid)).replace("{0}", str(laid)) for word in words.split()]
    if "asis" not in words:  # needs no package
        words += ["--faces", "asis", "--margin", "1"]
    assert main(["prepare", "voxceleb", *words, str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_only_read_is_no_place_for_the_corpus(laid):
    options = VoxCelebOptions("pins", **places(laid, "voxceleb1", "faces1"), reading=ASIS)
    with pytest.raises(UserError, match="lies within --faces1"):
        prepare_voxceleb(laid / "unzippedFaces" / "corpus", options)
    assert not (laid / "unzippedFaces" / "corpus").exists()


def test_links_out_of_the_folder_are_left_out_by_name(laid, tmp_path):
    folder = tmp_path / "raw"
    TREE.lay_out(folder, 2, 0, voices=2, faces=1)
    outside = tmp_path / "elsewhere.wav"
    voice = min(folder.glob("voxceleb1/dev/wav/id10001/*/*.wav"))
    outside.write_bytes(voice.read_bytes())
    voice.unlink()
    voice.symlink_to(outside)
    options = VoxCelebOptions("pins", **places(folder, "voxceleb1", "faces1"), reading=ASIS)
    prepare_voxceleb(tmp_path / "corpus", options, workers=1)
    source = str(voice.relative_to(folder / "voxceleb1"))
    assert source not in clips_of(Corpus(tmp_path / "corpus"))
    with (tmp_path / "corpus" / "rejects.csv").open() as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == [
            (source, "collect", "link that leads out of the folder")
        ]


@real
def test_the_official_people_give_the_published_splits(tmp_path):
    TREE.lay_out(tmp_path, 1251, 0, voices=1, faces=1, data=Path(DATA), media=False)
    listed = {name: path / "files.txt" for name, path in places(tmp_path, "voxceleb1", "faces1", "vggface1").items()}
    faces1, vggface1 = listed.pop("faces1"), listed.pop("vggface1")
    for split, faces, counts in (
        ("pins", {"faces1": faces1}, [901, 100, 250]),
        ("svhf", {"vggface1": vggface1}, [924, 112, 189]),
        ("kim", {"faces1": faces1}, [1001, 0, 250]),
    ):
        jobs = plan(VoxCelebOptions(split, **listed, **faces)).jobs
        assert [sum(job.split == name for job in jobs) for name in ("train", "val", "test")] == counts


LISTS = {  # rows, and voices and faces that are named
    "match_v2f_2_val": (42_546, 14_182, 7_210),
    "matching_f2v_G": (10_000, 13_711, 9_730),
    "matching_f2v_U": (10_000, 13_751, 9_717),
    "matching_v2f_G": (10_000, 8_252, 18_918),
    "matching_v2f_U": (10_000, 8_251, 18_953),
    "reterival_v2f_test": (21_850, 21_850, 20_076),
    "veriflist_test_GNA_unseenunheard": (27_280, 27_280, 25_502),
    "veriflist_test_G_unseenunheard": (30_496, 30_496, 28_590),
    "veriflist_test_random_unseenunheard": (30_496, 30_496, 28_649),
    "verify_v2f_test": (65_550, 21_850, 11_237),
}


@real
@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        ("matching_*_U.csv", 200),
        pytest.param("*", 400, marks=pytest.mark.slow(reason="twelve files of 23 MB; the quick ones are two of them")),
    ],
)
def test_the_official_lists_resolve_against_the_corpus(tmp_path, pattern, least):
    """Against the keys of a corpus of exactly the files that the lists name."""
    folder = Path(DATA, "voxceleb")
    paths = sorted((folder / "lists").glob(pattern))
    files = list_files(folder, paths)
    given = {}
    for tree, named in files.items():
        if not named:
            continue
        (tmp_path / tree).mkdir()
        given[tree] = tmp_path / tree / "files.txt"
        given[tree].write_text("\n".join(sorted(named)))
    meta, pins = folder / "vox1_meta.csv", folder / "splits/pins_identity_splits.txt"
    found = plan(VoxCelebOptions("pins", **given, meta1=meta, split_file=pins))
    assert [reject.reason for reject in found.rejects if "/" in reject.path[:-1]] == []
    kept = {job.identity for job in found.jobs}
    sides = {"voice": ([], []), "face": ([], [])}
    for job in found.jobs:
        for kind, clips in zip(sides, people_of(job), strict=True):
            sides[kind][0].extend([job.identity] * len(clips))
            sides[kind][1].extend(clip.key for clip in clips)
    assert len(kept) > least
    people = people_aliases(meta)
    lists = read_trial_files(paths, people)
    for kind, (identities, keys) in sides.items():
        named = {clip.full: clip for trials in lists for clip in (trials.voices if kind == "voice" else trials.faces)}
        at = locate(list(named.values()), keys, people, f"{kind}_key")
        assert at.min() >= 0
        assert [identities[place] for place in at] == [clip.person for clip in named.values()]
    seen = {t.name: (len(t.query), len(t.voices), len(t.faces)) for t in lists if "20k" not in t.name}
    both = [(t.direction, len(t.query), len(t.voices), len(t.faces)) for t in lists if "20k" in t.name]
    if pattern == "*":
        assert both == [("v2f", 20_000, 20_000, 20_000), ("f2v", 20_000, 20_000, 20_000)]
        assert seen == LISTS
    else:
        assert seen == {name: LISTS[name] for name in ("matching_f2v_U", "matching_v2f_U")}


def list_files(folder, paths):
    """What the official lists name, as files of the official folders, by rules of this test alone."""
    names = {}
    for line in (folder / "vox1_meta.csv").read_text("utf-8-sig").splitlines()[1:]:
        identity, name = line.split("\t")[:2]
        names[name] = identity
    files = {"voxceleb1": set(), "faces1": set(), "vggface1": set()}
    for path in paths:
        for word in set(re.split(r"[\s,]+", path.read_text("utf-8-sig"))):
            who, *rest = word.split("/")
            if word.endswith(".wav"):
                video, number = rest if len(rest) == 2 else (rest[0][:11], rest[0][14:])
                files["voxceleb1"].add(f"wav/{names.get(who, who)}/{video}/{number}")
            elif word.endswith(".jpg"):
                tree, middle = ("vggface1", "") if len(rest) == 1 else ("faces1", "1.6/")
                files[tree].add(f"{who}/{middle}{'/'.join(rest).removeprefix('1.6/')}")
    return files
