"""Reading embeddings: every format gives the same arrays, and nothing broken gets through."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.evaluation.embeddings import Embeddings, read_embeddings, read_identities
from voiceface.utils.errors import UserError

Arrays = dict[str, Any]


def arrays(voices: int = 5, faces: int = 4, dimensions: int = 3) -> Arrays:
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for kind, count in (("voice", voices), ("face", faces)):
        made[f"{kind}s"] = rng.standard_normal((count, dimensions)).astype(np.float32)
        made[f"{kind}_identity"] = np.array([f"p{i % 2}" for i in range(count)])
        made[f"{kind}_key"] = np.array([f"p{i % 2}/{kind}{i}" for i in range(count)])
        made[f"{kind}_video"] = np.array(["", *(f"film{i}" for i in range(1, count))])
    made["voice_pitch"] = np.array([120.5, np.nan, 210, 95, 300])[:voices]
    return made


def save_npz(root: Path, made: Arrays) -> Path:
    np.savez(root / "emb.npz", **made)
    return root / "emb.npz"


def save_csv(root: Path, made: Arrays) -> Path:
    for kind in ("voice", "face"):
        columns = {c: made[f"{kind}_{c}"] for c in ("identity", "key", "video", "pitch") if f"{kind}_{c}" in made}
        lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        (root / f"{kind}s.csv").write_text("\n".join(lines).replace("nan", ""))
        np.save(root / f"{kind}s.npy", made[f"{kind}s"])
    return root


def save_parquet(root: Path, made: Arrays) -> Path:
    for kind in ("voice", "face"):
        columns = {c: made[f"{kind}_{c}"] for c in ("identity", "key", "video", "pitch") if f"{kind}_{c}" in made}
        columns["embedding"] = list(made[f"{kind}s"])
        pq.write_table(pa.table(columns), root / f"{kind}s.parquet")
    return root


def same(read: Embeddings, made: Arrays) -> None:
    for name, values in made.items():
        found = read.measures[name] if name == "voice_pitch" else getattr(read, name)
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("save", [save_npz, save_csv, save_parquet])
def test_every_format_gives_the_same(tmp_path: Path, save: Callable[[Path, Arrays], Path]):
    made = arrays()
    same(read_embeddings(save(tmp_path, made)), made)


def test_two_files_and_optional_parts(tmp_path: Path):
    made = arrays()
    save_csv(tmp_path, made)
    same(read_embeddings(tmp_path / "voices.npy", tmp_path / "faces.npy"), made)
    save_parquet(tmp_path, made)
    same(read_embeddings(tmp_path / "voices.parquet", tmp_path / "faces.npy"), made)
    needed = {k: v for k, v in made.items() if not k.endswith(("video", "pitch"))}
    read = read_embeddings(save_npz(tmp_path, {**needed, "similarity": np.array("euclidean"), "other": np.zeros(3)}))
    assert (read.voice_video, read.face_video, read.measures, read.about) == (None, None, {}, {})
    assert read.similarity == "euclidean"
    assert read_embeddings(tmp_path / "emb.npz", similarity="cosine").similarity == "cosine"


def test_names_may_be_bytes_or_numbers(tmp_path: Path):
    made = arrays() | {"voice_identity": np.array([1, 2, 1, 2, 1]), "face_identity": np.array([b"1", b"2", b"1", b"2"])}
    read = read_embeddings(save_npz(tmp_path, made))
    assert read.voice_identity.tolist() == ["1", "2", "1", "2", "1"]
    assert read.face_identity.tolist() == ["1", "2", "1", "2"]


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1"])
@pytest.mark.parametrize("fixed", [True, False])
def test_parquet_lists_of_any_number_type(tmp_path: Path, kind: str, fixed: bool):
    made = arrays()
    for side in ("voices", "faces"):
        made[side] = np.arange(1, made[side].size + 1).reshape(made[side].shape).astype(kind)
    save_parquet(tmp_path, made)
    if fixed:
        for side in ("voices", "faces"):
            table = pq.read_table(tmp_path / f"{side}.parquet")
            listed = pa.FixedSizeListArray.from_arrays(pa.array(made[side].ravel()), 3)
            table = table.set_column(table.column_names.index("embedding"), "embedding", listed)
            pq.write_table(table, tmp_path / f"{side}.parquet", row_group_size=2)
    same(read_embeddings(tmp_path), made)


def test_a_similarity_matrix_is_mapped_and_needs_no_embeddings(tmp_path: Path):
    save_csv(tmp_path, arrays())
    matrix = np.arange(20, dtype=np.float32).reshape(5, 4)
    np.save(tmp_path / "similarity.npy", matrix)
    for side in ("voices", "faces"):
        (tmp_path / f"{side}.npy").unlink()
    read = read_embeddings(tmp_path)
    assert isinstance(read.similarity, np.ndarray)
    assert isinstance(read.similarity.base, np.memmap)
    np.testing.assert_array_equal(read.similarity, matrix)
    assert read.voices is None
    (tmp_path / "similarity.npy").rename(tmp_path / "mine.npy")
    with pytest.raises(UserError, match=r"no voices, faces .there are: "):
        read_embeddings(tmp_path)
    np.testing.assert_array_equal(read_embeddings(tmp_path, similarity=str(tmp_path / "mine.npy")).similarity, matrix)


def with_value(name: str, index: Any, value: Any) -> Callable[[Arrays], None]:
    def change(made: Arrays) -> None:
        made[name] = made[name].copy()
        made[name][index] = value

    return change


def setting(**values: Any) -> Callable[[Arrays], None]:
    return lambda made: made.update(values)


BROKEN = [
    (with_value("voices", (1, 2), np.nan), "1 voices are NaN or infinite: p1/voice1;"),
    (with_value("faces", (slice(None), 0), np.inf), "4 faces are NaN or infinite: p0/face0, p1/face1, p0/face2 ...;"),
    (with_value("faces", 3, 0), "1 faces are zero vectors, which have no cosine: p1/face3;"),
    (with_value("voice_key", 2, "p0/voice0"), "1 voice keys appear twice, such as p0/voice0"),
    (with_value("voice_key", 2, ""), "voice_key is empty in 1 rows, the first is row 2"),
    (with_value("face_identity", 1, " "), "face_identity is empty in 1 rows, the first is row 1"),
    (setting(voices=np.ones((5, 2), np.float32)), "voices have 2 dimensions, faces 3"),
    (setting(voices=np.ones((4, 3), np.float32)), "voices has 4 rows, voice_key 5"),
    (setting(voices=np.ones(5)), "voices is float64 (5,); it must be numbers (rows, dimensions)"),
    (setting(voices=np.full((5, 3), "x")), "voices is <U1 (5, 3)"),
    (setting(voice_identity=np.array(["a"])), "voice_identity has 1 rows, voice_key 5"),
    (setting(face_identity=np.ones((4, 1))), "face_identity is float64 (4, 1)"),
    (setting(voice_video=np.array(["a"])), "voice_video has 1 rows, voice_key 5"),
    (setting(voice_pitch=np.ones(2)), "voice_pitch has shape (2,)"),
    (setting(voice_pitch=np.array(["high"] * 5)), "voice_pitch is not all numbers"),
    (setting(similarity=np.array("cosin")), "similarity is 'cosin'; it may be cosine, euclidean or a matrix"),
    (setting(similarity=np.ones((4, 5))), "similarity is float64 (4, 5); it must be float32 or float64 (5, 4)"),
    (setting(similarity=np.ones((5, 4), np.float16)), "similarity is float16 (5, 4); it must be float32 or float64"),
    (
        setting(similarity=np.where(np.arange(20).reshape(5, 4) == 9, np.nan, 1.0)),
        "the similarity of p0/voice2 and p1/face1 is NaN or infinite",
    ),
    (setting(about=np.array("{")), "about is not what `voiceface embed` writes there"),
    (setting(about=np.array('{"model": 3}')), "about is not what `voiceface embed` writes there"),
    (setting(voice_key=np.array(["a", None, "b", "c", "d"], object)), "voice_key holds Python objects"),
    (lambda made: made.pop("face_key"), "no face_key (there are: "),
    (lambda made: made.clear(), "optional: voice_video, face_video, similarity, voice_pitch, voice_loudness"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_what_is_broken_is_refused_by_name(tmp_path: Path, change: Callable[[Arrays], None], message: str):
    made = arrays()
    change(made)
    path = save_npz(tmp_path, made)
    with pytest.raises(UserError) as refused:
        read_embeddings(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_zero_vectors_are_fine_where_distances_compare(tmp_path: Path):
    made = arrays() | {"similarity": np.array("euclidean")}
    made["voices"][1] = 0
    path = save_npz(tmp_path, made)
    np.testing.assert_array_equal(read_embeddings(path).voices, made["voices"])
    with pytest.raises(UserError, match="zero vectors"):
        read_embeddings(path, similarity="cosine")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def spoil(path: Path) -> None:
    path.write_bytes(b"not what it says")


@pytest.mark.parametrize("damage", [cut, spoil, lambda path: path.write_bytes(b"")], ids=["cut", "spoilt", "empty"])
@pytest.mark.parametrize("name", ["emb.npz", "csv/voices.npy", "csv/voices.csv", "parquet/faces.parquet"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, damage: Callable[[Path], None], name: str):
    made = arrays()
    for folder, save in (("csv", save_csv), ("parquet", save_parquet)):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder, made)
    save_npz(tmp_path, made)
    damage(tmp_path / name)
    with pytest.raises(UserError) as refused:
        read_embeddings(tmp_path / name if name == "emb.npz" else (tmp_path / name).parent)
    assert str(tmp_path) in str(refused.value)


def test_a_damaged_array_inside_an_npz_is_refused_by_name(tmp_path: Path):
    path = save_npz(tmp_path, arrays())
    content = bytearray(path.read_bytes())
    start = content.index(b"faces.npy") + 200
    content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"emb.npz: faces cannot be read"):
        read_embeddings(path)


def test_folders_and_paths_that_are_not_what_they_should(tmp_path: Path):
    made = arrays()
    with pytest.raises(UserError, match="no such file or folder"):
        read_embeddings(tmp_path / "emb.npz")
    with pytest.raises(UserError, match=r"has neither voices.csv nor voices.parquet; needed: "):
        read_embeddings(tmp_path)
    (tmp_path / "x.txt").touch()
    with pytest.raises(UserError, match=r"is no .npz and no folder"):
        read_embeddings(tmp_path / "x.txt")
    with pytest.raises(UserError, match=r"x.txt: is no .npy and no .parquet"):
        read_embeddings(tmp_path / "x.txt", tmp_path / "x.txt")
    save_csv(tmp_path, made)
    with pytest.raises(UserError, match=r"--similarity sim.txt: give cosine, euclidean or an .npy"):
        read_embeddings(tmp_path, similarity="sim.txt")
    with pytest.raises(UserError, match=r"sim.npy: no such file"):
        read_embeddings(tmp_path, similarity=str(tmp_path / "sim.npy"))
    np.save(tmp_path / "faces.npy", np.array([{}] * 4), allow_pickle=True)
    with pytest.raises(UserError, match=r"faces.npy: holds Python objects"):
        read_embeddings(tmp_path)
    save_parquet(tmp_path, made)
    with pytest.raises(UserError, match=r"has both voices.parquet and voices.csv"):
        read_embeddings(tmp_path)


def test_parquet_lists_of_several_lengths_or_with_nulls_are_refused(tmp_path: Path):
    made = arrays()
    save_parquet(tmp_path, made)
    table = pq.read_table(tmp_path / "faces.parquet")
    for lists in ([[1.0], [1.0, 2.0], [1.0], [1.0]], [[1.0], None, [1.0], [1.0]], [[1.0], [None], [1.0], [1.0]]):
        column = table.column_names.index("embedding")
        pq.write_table(table.set_column(column, "embedding", pa.array(lists)), tmp_path / "faces.parquet")
        with pytest.raises(UserError, match=r"faces.parquet: the lists in `embedding`"):
            read_embeddings(tmp_path)
    pq.write_table(table.set_column(column, "embedding", pa.array(["a"] * 4)), tmp_path / "faces.parquet")
    with pytest.raises(UserError, match=r"faces.parquet: `embedding` is string"):
        read_embeddings(tmp_path)


def test_a_large_matrix_inside_an_npz_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("voiceface.evaluation.embedding_files.LARGE", 100)
    path = save_npz(tmp_path, arrays() | {"similarity": np.ones((5, 4))})
    with pytest.raises(UserError, match=r"`similarity` takes .* give a folder with similarity.npy"):
        read_embeddings(path)


DIALECTS = {
    "vox1 with tabs": "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid1\tAnn_A.\tf\tIreland\tdev\n",
    "underscores, BOM, CRLF": "\ufeffVoxCeleb1_ID,VGGFace1_ID,Gender,Nationality,Set\r\nid1,Ann_A., F ,Ireland,dev\r\n",
    "semicolons": "identity;voxceleb1-id;vggface1 id;SEX;country\nid1;id1;Ann_A.;Female;Ireland\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_of_the_identity_table(tmp_path: Path, dialect: str):
    (tmp_path / "t.csv").write_bytes(DIALECTS[dialect].encode())
    table = read_identities(tmp_path / "t.csv")
    assert set(table) == {"id1", "Ann_A.", "Ann_A"}
    for person in table.values():
        assert (person["identity"], person["gender"], person["nationality"]) == ("id1", "f", "Ireland")


def test_identities_by_name_and_what_is_refused(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("name,gender,first language\nAnn,f,\nBen,m,Welsh\n")
    assert read_identities(path)["Ben"] == {"gender": "m", "first_language": "Welsh", "identity": "Ben"}
    for text, message in (
        ("who,gender\na,f\n", "no column identity or `VoxCeleb1 ID` (there are: who, gender)"),
        ("identity,gender\n,f\n", "line 2: no identity"),
        ("identity,gender\na,f\na,f\n", "line 3: a appears twice"),
        ("VoxCeleb1 ID,VGGFace1 ID\nid1,Ann\nid2,Ann\n", "line 3: Ann appears twice"),
        ("identity,gender\n", "holds no identity"),
        ("", "holds no identity"),
    ):
        path.write_text(text)
        with pytest.raises(UserError) as refused:
            read_identities(path)
        assert message in str(refused.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_identities(tmp_path / "none.csv")


names = st.text("abcdé.-_/ ", min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(names, min_size=1, max_size=6, unique=True), st.data())
def test_any_names_survive_an_npz(tmp_path_factory: pytest.TempPathFactory, keys: list[str], data: st.DataObject):
    identities = data.draw(st.lists(names, min_size=len(keys), max_size=len(keys)))
    one = {"s": np.ones((len(keys), 2)), "_key": np.array(keys), "_identity": np.array(identities)}
    made = {f"{kind}{name}": values for kind in ("voice", "face") for name, values in one.items()}
    same(read_embeddings(save_npz(tmp_path_factory.mktemp("npz"), made)), made)


@pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="needs the shared VoxCeleb tables")
def test_the_official_tables():
    root = Path(os.environ["VOICEFACE_TEST_DATA"]) / "voxceleb"
    first = read_identities(root / "vox1_meta.csv")
    assert len({person["identity"] for person in first.values()}) == 1251
    assert {person["gender"] for person in first.values()} == {"m", "f"}
    for split in ("train", "val", "test"):
        part = read_identities(root / "splits" / f"vox1_{split}.csv")
        assert all(first[name]["identity"] == person["identity"] for name, person in part.items())
    second = read_identities(root / "vox2_meta.csv")
    assert len({person["identity"] for person in second.values()}) == 6114
    assert all(person["gender"] in ("m", "f") for person in second.values())
