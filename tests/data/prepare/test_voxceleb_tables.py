"""VoxCeleb's metadata in all its dialects, and the published splits. All people here are made up."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.prepare.voxceleb.metadata import VoxPerson, aliases, find_beside, read_metadata
from voiceface.data.prepare.voxceleb.splits import split_people
from voiceface.utils.errors import UserError

DATA = os.environ.get("VOICEFACE_TEST_DATA")
real = pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA is not set")
TAB1 = (
    "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    "id10002\tBob_O'Sample_Jr.\tm\tUK\ttest\nid10001\tA.B._Example\tf\tUSA\tdev\n"
)
COMMA2 = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \r\nid00134 ,n000140 ,m ,dev \r\nid00017 ,n000017 ,f ,test \r\n"


def write(folder, text, name="meta.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text", [TAB1, "\ufeff" + TAB1.replace("\t", ","), TAB1.replace("\n", "\r\n"), TAB1.replace(" ID", "_ID")]
)
def test_dialects_of_the_first_table(tmp_path, text):
    assert read_metadata(write(tmp_path, text), 1) == [
        VoxPerson("id10001", 1, "A.B._Example", "dev", {"gender": "f", "nationality": "USA"}),
        VoxPerson("id10002", 1, "Bob_O'Sample_Jr.", "test", {"gender": "m", "nationality": "UK"}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + COMMA2,
        COMMA2.replace(" ID", "ID").replace(" ,", ",").replace(" \r", ""),
        COMMA2.replace(" ,", "\t")
        .replace("ID\tGender", "ID\tName\tGender")
        .replace("0\tm", "0\tX Y\tm")[:-1]
        .replace("7\tf", "7\t\tf"),
    ],
)
def test_dialects_of_the_second_table_join_by_the_row_and_keep_no_names(tmp_path, text):
    assert read_metadata(write(tmp_path, text), 2) == [
        VoxPerson("id00017", 2, "n000017", "test", {"gender": "f", "vggface2": "n000017"}),
        VoxPerson("id00134", 2, "n000140", "dev", {"gender": "m", "vggface2": "n000140"}),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id10001", "../id10001", r"line 3: '../id10001' is no VoxCeleb id"),
        ("id10001", "/tmp/x", r"line 3: '/tmp/x' is no VoxCeleb id"),
        ("A.B._Example", "../../Example", r"line 3: '../../Example' cannot be the name of a folder"),
        ("A.B._Example", "..", r"line 3: '..' cannot be the name of a folder"),
        ("A.B._Example", "", r"line 3: '' cannot be the name of a folder"),
        ("A.B._Example", "A\\Example", r"line 3: .* cannot be the name of a folder"),
        ("A.B._Example", "A\x07Example", r"line 3: 'A\\x07Example' holds control characters"),
        ("USA", "U\x1bSA", r"line 3: 'U\\x1bSA' holds control characters"),
        ("id10001", "id10002", r"line 3: id10002 appears twice"),
        ("A.B._Example", "Bob_O'Sample_Jr.", r"line 3: Bob_O'Sample_Jr. appears twice"),
        ("VGGFace1 ID", "Face", r"no columns `VoxCeleb1 ID` and `VGGFace1 ID`"),
    ],
)
def test_rows_that_could_lead_elsewhere_are_refused_by_line(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        read_metadata(write(tmp_path, TAB1.replace(old, new)), 1)


def test_the_other_data_sets_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="give VoxCeleb1's own vox1_meta"):
        read_metadata(write(tmp_path, COMMA2), 1)
    with pytest.raises(UserError, match=r"line 2: 'm000140' is no VGGFace2 id"):
        read_metadata(write(tmp_path, COMMA2.replace("n000140", "m000140")), 2)


def test_a_table_is_found_in_or_beside_the_folder_or_its_listing(tmp_path):
    tree = tmp_path / "vox" / "wav"
    tree.mkdir(parents=True)
    with pytest.raises(UserError, match=r"--meta1 is missing: no t.csv in or beside"):
        find_beside("t.csv", None, "--meta1", [tree])
    (tmp_path / "vox" / "t.csv").touch()
    (tree / "files.txt").touch()
    assert find_beside("t.csv", None, "--meta1", [tmp_path / "none", tree]) == tmp_path / "vox" / "t.csv"
    assert find_beside("t.csv", None, "--meta1", [tree / "files.txt"]) == tmp_path / "vox" / "t.csv"
    assert find_beside("t.csv", Path("mine"), "--meta1", [tree]) == Path("mine")


def crowd(dataset, count):
    """Made-up people whose names begin with all letters in turn."""
    if dataset == 1:
        return [VoxPerson(f"id1{i:04d}", 1, f"{chr(65 + i % 26)}_Example{i}.", "dev") for i in range(count)]
    return [VoxPerson(f"id0{i:04d}", 2, f"n{i + 6:06d}", "test" if i % 4 == 0 else "dev") for i in range(count)]


def test_svhf_goes_by_the_first_letter():
    people = crowd(1, 60)
    found = split_people("svhf", people)
    for person in people:
        wanted = "val" if person.face[0] in ("A", "B") else "test" if person.face[0] in ("C", "D", "E") else "train"
        assert found[person.identity] == wanted


def test_trinet_trains_on_the_second_and_tests_on_the_first():
    ones, twos = crowd(1, 5), crowd(2, 9)
    found = split_people("trinet", ones + twos)
    assert {found[p.identity] for p in ones} == {"test"}
    assert {p.identity for p in twos if found[p.identity] == "val"} == {
        p.identity for p in twos if p.official_set == "test"
    }
    assert set(found.values()) == {"train", "val", "test"}


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 5), st.permutations(range(1251)))
def test_kim_depends_on_the_seed_and_on_nothing_else(seed, order):
    people = crowd(1, 1251)
    found = split_people("kim", [people[i] for i in order], seed=seed)
    assert Counter(found.values()) == {"train": 1001, "test": 250}
    assert found == split_people("kim", people, seed=seed)
    assert found != split_people("kim", people, seed=seed + 1)


def test_validation_people_come_out_of_training_alone():
    people = crowd(1, 100)
    plain, held = (split_people("kim", people, validation=n) for n in (0, 7))
    assert Counter(held.values()) == {"train": 73, "val": 7, "test": 20}
    assert all(plain[i] == split or (plain[i], split) == ("train", "val") for i, split in held.items())
    with pytest.raises(UserError, match="--validation 79: 80 people are for training"):
        split_people("kim", people, validation=79)


def test_pins_reads_the_labels_with_and_without_the_full_stop(tmp_path):
    people = crowd(1, 3)
    path = write(tmp_path, "A_Example0. 1 \nB_Example1 2\n\nC_Example2. 4\n")
    assert split_people("pins", people, path) == {"id10000": "train", "id10001": "val", "id10002": "test"}
    for text, message in (
        ("A_Example0. 3\n", "line 1: not `NAME LABEL` with a label 1, 2 or 4"),
        ("A_Example0.\n", "line 1: not `NAME LABEL`"),
        ("A_Example0. 1\n../x 1\n", r"line 2: '../x' is not in the metadata"),
        ("A_Example0. 1\nA_Example0 2\n", "line 2: 'A_Example0' is in val here and in train above"),
    ):
        with pytest.raises(UserError, match=message):
            split_people("pins", people, write(tmp_path, text))


def test_a_table_of_ones_own_takes_any_name_and_leaves_the_others_out(tmp_path):
    people = crowd(1, 3) + crowd(2, 3)
    path = write(tmp_path, "identity;split\nid10001;train\nn000007;Test\nA_Example0;val\n")
    assert split_people(str(path), people) == {"id10001": "train", "id00001": "test", "id10000": "val"}
    with pytest.raises(UserError, match=r"line 2: split 'dev'; give train, val, test"):
        split_people(str(write(tmp_path, "identity,split\nid10001,dev\n")), people)
    with pytest.raises(UserError, match="--split svfh: neither a file nor one of pins, svhf, trinet, kim"):
        split_people("svfh", people)


@pytest.mark.parametrize("split", ["pins", "svhf", "kim"])
def test_splits_of_the_first_data_set_are_refused_for_both(split):
    with pytest.raises(UserError, match=f"--split {split}: divides VoxCeleb1 alone"):
        split_people(split, crowd(1, 4) + crowd(2, 4))


@real
def test_the_official_tables():
    folder = Path(DATA, "voxceleb")
    ones, twos = read_metadata(folder / "vox1_meta.csv", 1), read_metadata(folder / "vox2_meta.csv", 2)
    assert Counter(p.attributes["gender"] for p in ones) == {"m": 690, "f": 561}
    assert Counter((p.official_set, p.attributes["gender"]) for p in twos) == {
        ("dev", "m"): 3682,
        ("dev", "f"): 2312,
        ("test", "m"): 81,
        ("test", "f"): 39,
    }
    assert sum(int(p.identity[2:]) != int(p.face[1:]) for p in twos) == 4883
    assert {name for p in ones for name in p.attributes} == {"gender", "nationality"}
    genders = Counter(
        (split, p.attributes["gender"])
        for splits in [split_people("pins", ones, folder / "splits/pins_identity_splits.txt")]
        for p in ones
        for split in [splits[p.identity]]
    )
    assert [genders[s, g] for s in ("train", "val", "test") for g in "mf"] == [480, 421, 59, 41, 151, 99]
    svhf = split_people("svhf", ones)
    for split in ("train", "val", "test"):  # as others have carried it
        with (folder / f"splits/vox1_{split}.csv").open(encoding="utf-8-sig") as table:
            assert {row["VoxCeleb1_ID"] for row in csv.DictReader(table)} == {i for i, s in svhf.items() if s == split}
    assert Counter(split_people("trinet", ones + twos).values()) == {"train": 5994, "val": 120, "test": 1251}
    assert len(aliases(ones + twos)) == 2 * (1251 + 6114) + 5  # five names end with a full stop
