"""Which files of the official folders are used, and that no path leads elsewhere."""

import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.prepare.sources.people import Source
from voiceface.data.prepare.voxceleb.folders import LAYOUTS, leads_out, read_tree, sources
from voiceface.utils.errors import UserError

VIDEO = "-b_cdefghij"
OWNERS = {"id10001": "id10001", "id00012": "id00012", "A.B._Example.": "id10001", "n000018": "id00012"}
OWNERS |= {"A.B._Example": "id10001"}
LAYOUT, UP, ABSOLUTE = "not in the official layout", "path leads out of the folder", "absolute path"
CONTROL = "control characters in the path"


def read(tmp_path, tree, lines):
    listing = tmp_path / "files.txt"
    listing.write_bytes(b"".join(line.encode("utf-8", "surrogateescape") + b"\n" for line in lines))
    rejects = []
    found = {}
    with suppress(UserError):  # nothing is left
        found = read_tree(tree, listing, OWNERS.get, rejects).files
    return found, [(reject.path, reject.reason) for reject in rejects]


@pytest.mark.parametrize(
    ("tree", "path", "fate"),
    [
        ("voxceleb1", f"wav/id10001/{VIDEO}/00001.wav", "used"),
        ("voxceleb1", f"./dev/wav/id10001/{VIDEO}/00001.wav", "used"),
        ("voxceleb1", f"test/wav/id10001/{VIDEO}/00001.WAV", "used"),
        ("voxceleb1", f"id10001/{VIDEO}/00001.flac", "used"),
        ("voxceleb2", f"dev/aac/id00012/{VIDEO}/00001.m4a", "used"),
        ("faces1", f"unzippedFaces/A.B._Example./1.6/{VIDEO}/0000025.jpg", "used"),
        ("faces1", f"A.B._Example/1.6/{VIDEO}/0000025.jpg", "used"),
        ("vggface1", "A.B._Example./00000001.jpg", "used"),
        ("vggface1", "a/b/A.B._Example./any thing.PNG", "used"),
        ("vggface2", "train/n000018/0001_01.jpg", "used"),
        ("voxceleb1", f"wav/id10001/{VIDEO[1:]}/00001.wav", LAYOUT),
        ("voxceleb1", f"wav/id10001/{VIDEO}/0001.wav", LAYOUT),
        ("voxceleb1", f"wav/id10001/{VIDEO}/00001.jpg", LAYOUT),
        ("voxceleb1", f"wav/id10001/x/{VIDEO}/00001.wav", LAYOUT),
        ("voxceleb1", f"/wav/id10001/{VIDEO}/00001.wav", ABSOLUTE),
        ("voxceleb1", f"../wav/id10001/{VIDEO}/00001.wav", UP),
        ("voxceleb1", f"wav/../id10001/{VIDEO}/00001.wav", UP),
        ("voxceleb1", f"wav/id10001/{VIDEO}/../00001.wav", UP),
        ("voxceleb1", f"w\x07v/id10001/{VIDEO}/00001.wav", CONTROL),
        ("voxceleb1", f"w\udcffv/id10001/{VIDEO}/00001.wav", "file name is not UTF-8"),
        ("voxceleb1", f"wav/id10009/{VIDEO}/00001.wav", "--voxceleb1: a folder of nobody in the metadata"),
        ("faces1", f"A.B._Example./1.3/{VIDEO}/0000025.jpg", LAYOUT),
        ("vggface1", "../00000001.jpg", UP),
        ("vggface1", "A.B._Example./0000\x1f1.jpg", CONTROL),
        ("vggface2", "train/n000018/0001.jpg", LAYOUT),
        ("voxceleb1", "wav/id10001/readme.txt", ""),
        ("voxceleb2", f"dev/mp4/id00012/{VIDEO}/00001.mp4", ""),
        ("vggface1", "A.B._Example./._00000001.jpg", ""),
        ("vggface1", ".thumbnails/A.B._Example./00000001.jpg", ""),
    ],
)
def test_every_path_has_its_fate(tmp_path, tree, path, fate):
    found, rejects = read(tmp_path, tree, [path])
    if fate == "used":
        assert (list(found.values()), rejects) == ([path.removeprefix("./")], [])
    else:
        assert found == {}
        assert [reason for _, reason in rejects] == [fate] * bool(fate)
        assert all(name.isprintable() for name, _ in rejects)


GOOD = {
    "voxceleb1": f"dev/wav/id10001/{VIDEO}/00001.wav",
    "voxceleb2": f"dev/aac/id00012/{VIDEO}/00001.m4a",
    "faces1": f"faces/A.B._Example./1.6/{VIDEO}/0000025.jpg",
    "vggface1": "A.B._Example./00000001.jpg",
    "vggface2": "train/n000018/0001_01.jpg",
}
PARTS = ["..", ".", "", "wav", "id10001", "1.6", "a\x07", "a\udcff", "a\rb.jpg", "...", "..jpg", ".jpg", "-", "\\"]


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from(PARTS)), max_size=2),
)
def test_a_path_of_the_official_form_stays_below_its_folder(tree, changes):
    parts = GOOD[tree].split("/")
    for place, instead, part in changes:
        parts[place : place + instead] = [part]
    path = "/".join(parts)
    if not LAYOUTS[tree].form.fullmatch(path):
        assert changes
        return
    assert os.path.normpath(f"/raw/{path}") == f"/raw/{path}"
    assert path.encode().decode().isprintable()
    (source,) = sources(tree, "/raw", "id10001", path)
    assert not set(source.key.split("/")) & {"..", ""}
    assert source.key.startswith("id10001/voice/" if tree.startswith("vox") else "id10001/face/")


@pytest.mark.parametrize(
    ("tree", "path", "source"),
    [
        (
            "voxceleb2",
            f"dev/aac/id00012/{VIDEO}/00007.m4a",
            Source(f"dev/aac/id00012/{VIDEO}/00007.m4a", f"p/voice/{VIDEO}/00007", VIDEO, None, "/r"),
        ),
        (
            "faces1",
            f"X/1.6/{VIDEO}/0003525.jpg",
            Source(f"X/1.6/{VIDEO}/0003525.jpg", f"p/face/{VIDEO}/0003525", VIDEO, 141.0, "/r"),
        ),
        ("vggface1", "X/a.b.jpg", Source("X/a.b.jpg", "p/face/a.b", "", None, "/r")),
        ("vggface2", "test/n000018/0001_01.jpg", Source("test/n000018/0001_01.jpg", "p/face/0001_01", "", None, "/r")),
    ],
)
def test_keys_videos_and_times(tree, path, source):
    assert list(sources(tree, "/r", "p", path)) == [source]


def test_one_file_of_each_clip_is_read(tmp_path):
    lines = [
        f"{part}/id00012/{VIDEO}/{clip}" for part in ("wav", "aac") for clip in ("00001.wav", "00001.m4a", "00002.m4a")
    ]
    found, rejects = read(tmp_path, "voxceleb2", lines)
    assert found["id00012"].split("\n") == [f"aac/id00012/{VIDEO}/00001.m4a", f"aac/id00012/{VIDEO}/00002.m4a"]
    assert sorted(path for path, _ in rejects) == sorted(set(lines) - set(found["id00012"].split("\n")))
    assert {reason for _, reason in rejects} == {"another file of the same clip"}
    # The folders `Name.` and `Name` are one person's.
    found, rejects = read(tmp_path, "vggface1", ["A.B._Example/2.jpg", "A.B._Example./1.jpg", "A.B._Example./2.jpg"])
    assert found["id10001"].split("\n") == ["A.B._Example./1.jpg", "A.B._Example./2.jpg"]
    assert rejects == [("A.B._Example/2.jpg", "another file of the same clip")]


def test_a_folder_and_its_listing_hold_the_same(tmp_path):
    tree, good = tmp_path / "tree", [f"dev/wav/id10001/{VIDEO}/0000{i}.wav" for i in range(3)]
    for path in [*good, "dev/wav/notes.txt", f"dev/wav/id10001/{VIDEO}/x.wav", f"dev/wav/id10001/{VIDEO}/.0000.wav"]:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).touch()
    (tmp_path / "away" / "id10001" / VIDEO).mkdir(parents=True)
    (tmp_path / "away" / "id10001" / VIDEO / "00009.wav").touch()
    (tree / "linked").symlink_to(tmp_path / "away")
    rejects = []
    walked = read_tree("voxceleb1", tree, OWNERS.get, rejects)
    assert walked.files == {"id10001": "\n".join(good)}
    assert walked.root == str(tree)
    assert sorted((reject.path, reject.reason) for reject in rejects) == [
        (f"dev/wav/id10001/{VIDEO}/x.wav", LAYOUT),
        ("linked", "link to a folder; give the folder itself"),
    ]
    (tree / "files.txt").write_text("\n".join(good))
    listed = read_tree("voxceleb1", tree / "files.txt", OWNERS.get, [])
    assert (listed.root, listed.files) == (walked.root, walked.files)


def test_links_within_the_folder_are_followed_and_others_are_not(tmp_path):
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real" / "a.wav").touch()
    (tmp_path / "secret.wav").touch()
    (root / "inner.wav").symlink_to(root / "real" / "a.wav")
    (root / "outer.wav").symlink_to(tmp_path / "secret.wav")
    (root / "up").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(root)
    found = {
        path: leads_out(Source(path, path, root=str(tmp_path / "alias")))
        for path in ("real/a.wav", "inner.wav", "outer.wav", "up/secret.wav", "missing.wav")
    }
    assert found == {
        "real/a.wav": False,
        "inner.wav": False,
        "outer.wav": True,
        "up/secret.wav": True,
        "missing.wav": False,
    }


def test_a_missing_or_a_wrong_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--voxceleb1 .*none: no such folder; give the folder of wav/id10001"):
        read_tree("voxceleb1", tmp_path / "none", OWNERS.get, [])
    (tmp_path / "x.wav").touch()
    with pytest.raises(UserError, match=r"holds nothing such as wav/id10001/.*left out is x.wav: not in the official"):
        read_tree("voxceleb1", tmp_path, OWNERS.get, [])
