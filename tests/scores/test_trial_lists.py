"""Trial lists: formats, names of clips and people, and what is refused. All people here are made up."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.evaluation.embeddings import people_aliases
from voiceface.scores.clip_keys import locate, parse_clip
from voiceface.scores.trial_lists import disagreements, read_trial_files, read_trials
from voiceface.utils.errors import UserError

DATA = os.environ.get("VOICEFACE_TEST_DATA")
real = pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA is not set")
PEOPLE = {
    "id10001": "id10001",
    "Ann_Example": "id10001",
    "id10002": "id10002",
    "Bob_Sample_Jr.": "id10002",
    "id10003": "id10003",
    "Cy_Case": "id10003",
}
VIDEOS = st.text("abcXYZ019_-", min_size=11, max_size=11)
META1 = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tAnn_Example\tf\tUSA\tdev\n"


def write(folder, text, name="list.txt"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def found(name, key, people=PEOPLE):
    return locate([parse_clip(name, people)], [key], people, "voice_key").tolist() == [0]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Ann_Example/a_-b1234567_0000012.wav", "id10001/a_-b1234567/00012.wav"),
        ("Ann_Example/____________0012345.wav", "id10001/voice/___________/12345"),
        ("id10001/a_-b1234567/00012.wav", "id10001/a_-b1234567/00012.m4a"),
        ("Ann_Example/a_-b1234567/0000025.jpg", "Ann_Example/1.6/a_-b1234567/0000025.jpg"),
        ("Ann_Example/1.6/a_-b1234567/0000025.jpg", "id10001/face/a_-b1234567/0000025"),
        ("Ann_Example/00000558.jpg", "id10001/face/00000558"),
        ("p001/voice/clip3.wav", "p001/voice/clip3"),
        ("p001/voice/clip3", "p001/voice/clip3.FLAC"),
        ("p001/a.b.v2", "p001/a.b.v2"),
        ("clip3.wav", "clip3"),
    ],
)
def test_two_spellings_of_one_clip_meet(name, key):
    assert found(name, key)
    assert found(key, name)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Ann_Example/a_-b1234567_0000012.wav", "id10002/a_-b1234567/00012.wav"),  # another person
        ("Ann_Example/a_-b1234567_0000012.wav", "id10001/a_-b1234567/00013.wav"),  # another number
        ("Ann_Example/a_-b1234567_0000012.wav", "id10001/A_-b1234567/00012.wav"),  # another video
        ("Ann_Example/a_-b123456_0000012.wav", "id10001/a_-b123456/00012.wav"),  # no video id: 10 characters
        ("Ann_Example/a_-b1234567_0100012.wav", "id10001/a_-b1234567/00012.wav"),  # the zeros are not zeros
        ("p001/clip.v1", "p001/clip.v2"),  # no file suffix
        ("p001/voice/clip3.wav", "p002/voice/clip3.wav"),
    ],
)
def test_different_clips_do_not_meet(name, key):
    assert not found(name, key)
    assert not found(key, name)


@settings(max_examples=examples(60), deadline=None)
@given(VIDEOS, VIDEOS, st.integers(0, 99999), st.integers(0, 99999))
def test_both_voice_schemes_meet_exactly_where_video_and_number_are_the_same(video, other, number, another):
    name = f"Ann_Example/{video}_00{number:05d}.wav"
    assert found(name, f"id10001/{video}/{number:05d}.wav")
    same = (video, number) == (other, another)
    assert found(name, f"id10001/{other}/{another:05d}.wav") == same


def test_without_a_table_people_are_compared_as_they_are_written():
    assert not found("Ann_Example/a_-b1234567_0000012.wav", "id10001/a_-b1234567/00012.wav", {})
    assert found("Ann_Example/a_-b1234567_0000012.wav", "Ann_Example/a_-b1234567/00012.wav", {})


def test_keys_that_name_one_clip_are_refused():
    keys = ["id10001/a_-b1234567/00012.wav", "p/x", "Ann_Example/a_-b1234567_0000012.wav"]
    with pytest.raises(UserError, match=r"voice_key: duplicate key, 'id10001.*00012.wav' and 'Ann_Example.*12.wav'"):
        locate([], keys, PEOPLE, "voice_key")
    # Two files that differ by suffix only are two clips, of which a list must name one.
    two = ["p/voice/a.wav", "p/voice/a.mp3", "p/voice/b.mp3"]
    clips = [parse_clip(name, {}) for name in ("p/voice/a.mp3", "p/voice/b.wav", "p/voice/c.wav")]
    assert locate(clips, two, {}, "voice_key").tolist() == [1, 2, -1]
    with pytest.raises(UserError, match=r"'p/voice/a' of the list could be 'p/voice/a.wav' and 'p/voice/a.mp3'"):
        locate([parse_clip("p/voice/a", {})], two, {}, "voice_key")


@pytest.mark.parametrize(
    "text",
    [
        META1,
        "\ufeff" + META1.replace("\t", ","),
        META1.replace("\t", ",").replace(" ID", "_ID").replace("\n", "\r\n"),
        META1.replace("\t", " ,").replace("1 ID", "1ID"),
    ],
)
def test_dialects_of_the_first_table(tmp_path, text):
    assert people_aliases(write(tmp_path, text)) == {"id10001": "id10001", "Ann_Example": "id10001"}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffVoxCeleb2ID,VGGFace2ID,Gender,Set\nid00012,n000140,m,dev\n",
        "\ufeffVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000140 ,m ,dev \n\n",
        "VoxCeleb2 ID\tName\tVGGFace2 ID\tGender\tSet\nid00012\tAnn Example\tn000140\tf\tdev\n",
    ],
)
def test_dialects_of_the_second_table_beside_the_first(tmp_path, text):
    first = write(tmp_path, META1.replace("Ann_Example", "Bob_Sample_Jr."), "first")
    assert people_aliases(write(tmp_path, text, "second"), first) == {
        "id00012": "id00012",
        "n000140": "id00012",
        "id10001": "id10001",
        "Bob_Sample_Jr.": "id10001",
        "Bob_Sample_Jr": "id10001",
    }


def test_a_name_of_two_people_is_refused(tmp_path):
    other = write(tmp_path, META1.replace("id10001", "id10009"), "other")
    with pytest.raises(UserError, match="Ann_Example is id10009 here and id10001 in another table"):
        people_aliases(write(tmp_path, META1), other)


V1, V2 = "id10001/a_-b1234567/00001.wav", "id10002/a_-b1234568/00001.wav"
F1, F2, F3 = "Ann_Example/1.6/a_-b1234567/0000025.jpg", "Bob_Sample_Jr./00000001.jpg", "Cy_Case/00000002.jpg"
OFFICIAL = "id,voice-speaker-id,face-speaker-id,label,voice-path,face-path\n"
ROWS = (
    "1,1,1,1,Ann_Example/a_-b1234567_0000001.wav,Ann_Example/a_-b1234567/0000025.jpg\n"
    "2,1,2,0,Ann_Example/a_-b1234567_0000001.wav,Bob_Sample_Jr./a_-b1234568/0000050.jpg\n"
)
FORMATS = {
    "official": (OFFICIAL + ROWS, "verification", "both", [[True], [False]]),
    "official, no header": (ROWS, "verification", "both", [[True], [False]]),
    "own columns": (
        "label,face_path,voice_path\n1,p1/face/a,p1/voice/x\n0,p2/face/a,p1/voice/x\n",
        "verification",
        "both",
        [[True], [False]],
    ),
    "labels, no people": ("a.wav\tb.jpg\t1\na.wav\tc.jpg\t0\n", "verification", "both", [[True], [False]]),
    "label first": (f"0 {V1} {F2}\n1 {V1} {F1}\n", "verification", "both", [[False], [True]]),
    "pairs": (f"{V1} {F2}\n{V1} {F1}\n{V2} {F1}\n", "verification", "both", [[False], [True], [False]]),
    "face first": (f"{F2} {V1}\n{F1} {V1}\n", "verification", "both", [[False], [True]]),
    "matching v2f": (f"{V1} {F1} {F2}\n{V1} {F3} {F1}\n", "matching", "v2f", [[True, False], [False, True]]),
    "matching f2v": (f"{F1},{V2},{V1}\n", "matching", "f2v", [[False, True]]),
    "1:3": (f"{V2} {F1} {F3} {F2}\n", "matching", "v2f", [[False, False, True]]),
    "matching with header": (f"probe a b\n{V1} {F1} {F2}\n", "matching", "v2f", [[True, False]]),
    "retrieval v2f": (f"{V1} {V2}\n{F1} {F2} {F3}", "retrieval", "v2f", [[], []]),
    "retrieval f2v": (f"{F1}\n{V1} {V2}", "retrieval", "f2v", [[]]),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dress", [lambda t: t, lambda t: "\ufeff\n" + t.replace("\n", "\r\n\r\n") + "\r\n \r\n"])
def test_formats(tmp_path, name, dress):
    text, kind, direction, labels = FORMATS[name]
    trials = read_trials(write(tmp_path, dress(text), "some.list"), PEOPLE)
    assert (trials.name, trials.kind, trials.direction) == ("some", kind, direction)
    assert trials.labels.tolist() == labels
    assert trials.candidates.shape == trials.labels.shape == (len(trials.query), len(labels[0]))
    assert {clip.kind for clip in trials.voices} <= {"voice"}
    assert {clip.kind for clip in trials.faces} <= {"face"}
    lines = [line for line in text.split("\n") if ".wav" in line or "voice/" in line]
    if kind != "retrieval":  # each row names its own clips, in the file's order
        for line, query, items in zip(lines, trials.query, trials.candidates, strict=True):
            named = line.replace(",", " ").split()
            assert trials.queries[query].name in named
            order = [named.index(trials.gallery[item].name) for item in items]
            assert order == sorted(order)


def test_a_clip_stands_once_however_often_and_however_it_is_named(tmp_path):
    other = "Ann_Example/a_-b1234567_0000001.wav"
    trials = read_trials(write(tmp_path, f"{V1} {F1} {F2}\n{other} {F3} {F1}\n"), PEOPLE)
    assert trials.query.tolist() == [0, 0]
    assert trials.candidates.tolist() == [[0, 1], [2, 0]]
    assert [clip.name for clip in trials.faces] == [F1, F2, F3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no trial"),
        ("probe positive negative\n", "holds no trial"),
        (b"\xff\xfe\x00", "cannot be read as UTF-8"),
        ("a b\nc d\n", "line 2: no known kind of trial"),
        (f"{V1} {V2} {F1}\n", "line 1: no known kind of trial"),
        (f"{V1} {F1} {F2}\n{V1} {F1}\n", "line 2: 2 values, but line 1 has 3"),
        (f"{V1} {F1} {F2}\n\n{F1} {V1} {V2}\n", "line 3: not a voice and then faces"),
        (f"{V1} {F1} {F2}\n{V1} {F2} {F3}\n", "line 2: 0 candidates are of the person of"),
        (f"{V1} {F1} Ann_Example/00000001.jpg\n", "line 1: 2 candidates"),
        ("x.wav a.jpg b.jpg\n", "line 1: 0 candidates"),
        (OFFICIAL + ROWS.replace("2,0,", "2,1,"), "line 3: the label, the speaker ids and the people"),
        (OFFICIAL + ROWS.replace("2,1,2,0", "2,1,1,0"), "line 3: the label, the speaker ids and the people"),
        (OFFICIAL + ROWS.replace("1,1,1,1", "1,1,1,yes"), "line 2: label 'yes'"),
        (OFFICIAL + ROWS.replace("1.wav", "1.jpg"), "line 2: .* is no voice or"),
        (f'{V1},{F1},1\n"{V1},{F2},0\n', "line 2: unexpected end of data"),
        (f"{V1} {F1}\n", "all pairs are of one person"),
        (f"{V1} {F2}\n", "all pairs are of two people"),
        (f"{V1} {F1}\n{V1} Dee_Missing/00000001.jpg\n", "line 2: the person of 'Dee_Missing/00000001.jpg' is not in"),
        ("a.wav\tb.jpg\n", "line 1: 'a.wav' or 'b.jpg' does not say whose it is"),
        (f"{V1} {V2}\n{F1} {F3}\n", "line 2: the gallery lacks the person of the query 'id10002/"),
        (f"a.wav\n{F1} {F3} b.jpg\n", "line 2: the gallery lacks the person of the query 'a.wav'"),
        (f"{V1} {V1}\n{F1} {F2}\n", "is there 2 times"),
        (f"{V1}\n{F1}\n", "is the whole gallery"),
        (f"id\twav\nid10001\t{V1}\n", "half of a retrieval task"),
        (f"id\twav\nid10002\t{V1}\n", "line 2: .* is not of 'id10002'"),
        (f"id\twav\nid10001\t{V1}\nid10001\t{F1}\n", "line 3: .* is no voice"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_trials(write(tmp_path, text), PEOPLE)


def test_a_list_with_two_naming_schemes_asks_for_the_table_of_people(tmp_path):
    for text in (f"{V1} {F1} {F2}\n", f"{V1} {F1}\n{V1} {F2}\n", f"{V1} {V2}\n{F1} {F2}\n", f"1 {V1} {F1}\n"):
        with pytest.raises(UserError, match=r"give vox1_meta\.csv as the table"):
            read_trials(write(tmp_path, text))


def test_two_tables_are_retrieval_both_ways(tmp_path):
    voices = write(tmp_path, f"VoxCeleb1 ID\twav\nid10001\t{V1}\nid10002\t{V2}\n", "v.csv")
    faces = write(tmp_path, f"id10001\t{F1}\nid10003\t{F3}\nid10001\tAnn_Example/00000009.jpg\n", "f.csv")
    pairs = write(tmp_path, f"{V1} {F1}\n{V1} {F2}\n", "pairs.txt")
    for order in ([voices, faces, pairs], [faces, pairs, voices]):
        for people in (PEOPLE, None):
            lists = read_trial_files(order if people else [voices, faces], people)
            assert [t.name for t in lists] == (["pairs"] if people else []) + ["v+f", "v+f"]
            v2f, f2v = lists[-2:]
            assert (v2f.direction, f2v.direction) == ("v2f", "f2v")
            # The second voice's person has no face: it is nobody's query and stays in the gallery.
            assert (v2f.query.tolist(), f2v.query.tolist()) == ([0], [0, 2])
            assert (len(v2f.gallery), len(f2v.gallery)) == (3, 2)
            assert [clip.person for clip in v2f.faces] == ["id10001", "id10003", "id10001"]
    assert [t.name for t in read_trial_files([pairs], PEOPLE)] == ["pairs"]
    for lone in ([voices], [voices, voices], [voices, faces, faces]):
        with pytest.raises(UserError, match="one table of voices and one of faces"):
            read_trial_files(lone, PEOPLE)
    others = write(tmp_path, f"id10003\t{F3}\nid10003\tCy_Case/00000009.jpg\n", "o.csv")
    with pytest.raises(UserError, match="no person in common"):
        read_trial_files([voices, others], PEOPLE)


def test_disagreements_with_a_table(tmp_path):
    trials = read_trials(write(tmp_path, f"{V1} {F2} {F1} {F3}\n{V1} {F2} {F1} {F3}\n"), PEOPLE)
    table = {"id10001": {"gender": "f"}, "id10002": {"gender": "m"}, "id10003": {"gender": ""}}
    assert disagreements(trials, table, "gender") == [("id10001", "id10002")] * 2
    assert disagreements(trials, table | {"id10002": {"gender": "f"}}, "gender") == []


# The official lists hold names of real people: nothing below prints one.
OFFICIAL_LISTS = {
    "veriflist_test_random_unseenunheard.txt": ("verification", "both", 30496, 15248, 0),
    "veriflist_test_G_unseenunheard.txt": ("verification", "both", 30496, 15248, 0),
    "veriflist_test_GNA_unseenunheard.txt": ("verification", "both", 27280, 13641, 11139),
    "matching_v2f_U.csv": ("matching", "v2f", 10000, 10000, None),
    "matching_v2f_G.csv": ("matching", "v2f", 10000, 10000, None),
    "matching_f2v_U.csv": ("matching", "f2v", 10000, 10000, None),
    "matching_f2v_G.csv": ("matching", "f2v", 10000, 10000, None),
    "match_v2f_2_val.txt": ("matching", "v2f", 42546, 42546, None),
    "verify_v2f_test.txt": ("verification", "both", 65550, 32967, None),
}


# Of each kind one list is read by default.
QUICK = ("veriflist_test_GNA_unseenunheard.txt", "matching_v2f_U.csv", "matching_f2v_U.csv")
LONG = pytest.mark.slow(reason="long lists, read in plain Python too; the quick ones are three, and all formats above")


@pytest.fixture(scope="module")
def voxceleb():
    folder = Path(DATA or "") / "voxceleb"
    return folder, people_aliases(folder / "vox1_meta.csv", folder / "vox2_meta.csv")


@real
def test_the_official_tables_of_people(voxceleb):
    folder, people = voxceleb
    assert len(set(people.values())) == 1251 + 6114
    assert people_aliases(folder / "vox1_meta.csv") == people_aliases(*(folder / "splits").glob("vox1_*.csv"))
    # The digits of a VoxCeleb2 id are not those of its VGGFace2 id.
    assert sum(alias[0] == "n" and alias[1:].isdigit() and alias[2:] != i[2:] for alias, i in people.items()) == 4883


@real
@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=LONG) for name in OFFICIAL_LISTS])
def test_official_lists_read_as_a_plain_reading_of_their_identities(voxceleb, name):
    folder, people = voxceleb
    path = folder / "lists" / name
    kind, direction, number, positives, parity_errors = OFFICIAL_LISTS[name]
    trials = read_trials(path, people)
    assert (trials.kind, trials.direction, len(trials.query)) == (kind, direction, number)
    assert trials.labels.sum() == positives
    with path.open(newline="") as file:
        rows = [row[4:] for row in csv.reader(file)][1:] if "veriflist" in name else [line.split() for line in file]
    same = [[people[p.split("/")[0]] == people[row[0].split("/")[0]] for p in row[1:]] for row in rows]
    assert trials.labels.tolist() == same
    if parity_errors is not None:
        alternating = np.arange(number) % 2 == 0
        assert (trials.labels[:, 0] != alternating).sum() == parity_errors
        assert (read_trials(path).labels == trials.labels).all()  # one naming scheme: no table is needed


@real
def test_official_retrieval_lists(voxceleb):
    folder, people = voxceleb
    lists = folder / "lists"
    v2f, f2v = read_trial_files([lists / "jpg_20k.csv", lists / "wav_20k.csv"], people)
    assert (len(v2f.query), len(v2f.gallery), len(f2v.query), len(f2v.gallery)) == (20000,) * 4
    assert len({clip.person for clip in v2f.voices}) == 250
    two_lines = read_trials(lists / "reterival_v2f_test.txt", people)
    assert (len(two_lines.query), len(two_lines.gallery)) == (21850, 20076)
    for name in ("wav_20k.csv", "jpg_20k.csv"):
        with pytest.raises(UserError, match="half of a retrieval task"):
            read_trials(lists / name, people)


@real
@pytest.mark.parametrize(
    ("name", "rows", "culprits"),
    [
        pytest.param("veriflist_test_G_unseenunheard.txt", 263, 2, marks=LONG),
        ("veriflist_test_GNA_unseenunheard.txt", 264, 2),
        ("matching_v2f_G.csv", 0, 0),
        ("matching_f2v_G.csv", 0, 0),
    ],
)
def test_where_same_gender_lists_contradict_the_table(voxceleb, name, rows, culprits):
    folder, people = voxceleb
    with (folder / "vox1_meta.csv").open() as file:
        genders = {row["VoxCeleb1 ID"]: {"gender": row["Gender"]} for row in csv.DictReader(file, delimiter="\t")}
    pairs = disagreements(read_trials(folder / "lists" / name, people), genders, "gender")
    assert len(pairs) == rows
    often = {person for person, _ in Counter(p for pair in pairs for p in pair).most_common(culprits)}
    assert len(often) == culprits
    assert all(often & set(pair) for pair in pairs)  # a few people explain all of it
