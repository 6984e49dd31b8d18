"""Approximate indexes: what they find, against sorting all similarities; and what is refused."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_support import make, words, write_face, write_voice

from voiceface.cli import inference as commands
from voiceface.inference import faiss_index as approximate
from voiceface.inference.faiss_index import build, read
from voiceface.inference.gallery import Index, build_index
from voiceface.inference.media import files_below
from voiceface.inference.search import nearest_points, unit
from voiceface.utils.errors import UserError

faiss = pytest.importorskip("faiss")


def gallery(space: str, dtype: str, count: int = 6000, dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Faces of people who differ the more in the first dimensions; and voices that are a little like them."""
    rng = np.random.default_rng(3)
    spread = 1 / np.sqrt(np.arange(1, dim + 1))
    means = rng.standard_normal((count // 20, dim)) * spread
    faces = means[rng.integers(0, len(means), count)] + 0.7 * spread * rng.standard_normal((count, dim))
    voices = 0.3 * means[:100] + 0.95 * spread * rng.standard_normal((100, dim))
    return (unit(faces) if space == "cosine" else faces).astype(dtype), voices.astype(np.float32)


def by_sorting(query: np.ndarray, rows: np.ndarray, top: int, space: str) -> set[int]:
    query, rows = query.astype(np.float64), rows.astype(np.float64)
    scores = rows @ query if space == "cosine" else -((rows - query) ** 2).sum(axis=1)
    return set(np.argsort(-scores)[:top].tolist())


@pytest.mark.parametrize(("space", "dtype"), [("cosine", "float32"), ("cosine", "float16"), ("euclidean", "float32")])
def test_most_are_found_and_their_similarities_are_exact(space: str, dtype: str, tmp_path: Path):
    rows, voices = gallery(space, dtype)
    about = build(tmp_path / "x", rows, space)
    assert about["lists"] == 77
    assert about["recall_at_10"] >= 0.99
    assert about["probes"] < 77
    found = read(tmp_path / "x", json.loads(json.dumps(about)), rows, space).search(voices, 10)
    exact = nearest_points(voices, rows, 10, space)
    shares = []
    for voice, (places, scores), (all_places, all_scores) in zip(voices, found, exact, strict=True):
        shares.append(len(by_sorting(voice, rows, 10, space) & set(places.tolist())) / 10)
        known = dict(zip(all_places.tolist(), all_scores.tolist(), strict=True))
        assert all(
            known[place] == score for place, score in zip(places.tolist(), scores, strict=True) if place in known
        )
        assert (np.diff(scores) <= 0).all()
    assert np.mean(shares) > 0.97  # a thousand neighbours; 0.99 was of other queries
    one = read(tmp_path / "x", about, rows, space).search(voices[:1], 10)[0]
    np.testing.assert_array_equal(one[0], found[0][0])


def test_fewer_lists_find_less(tmp_path: Path):
    """The number of lists that is written is used, and it was not chosen larger than needed."""
    rows, voices = gallery("cosine", "float32")
    about = build(tmp_path / "x", rows, "cosine")

    def share(probes: int) -> float:
        found = read(tmp_path / "x", about | {"probes": probes}, rows, "cosine").search(voices, 10)
        return float(
            np.mean([len(by_sorting(v, rows, 10, "cosine") & set(p)) for v, (p, _) in zip(voices, found, strict=True)])
        )

    assert share(1) < 8 < share(about["probes"]) <= share(77)
    assert share(77) > 9.95


@pytest.mark.parametrize("count", [1, 2, 3, 30])
@pytest.mark.parametrize("space", ["cosine", "euclidean"])
def test_small_galleries(count: int, space: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    rows, voices = gallery(space, "float32")
    rows = np.concatenate([rows[:count], rows[:count]])  # equal rows: the first one first
    about = build(tmp_path / "x", rows, space)
    index = read(tmp_path / "x", about, rows, space)
    for top in (count, 2 * count, 2 * count + 50):  # more than there are: all
        for found, exact in zip(index.search(voices, top), nearest_points(voices, rows, top, space), strict=True):
            if top >= 2 * count:
                np.testing.assert_array_equal(found[0], exact[0])
                np.testing.assert_array_equal(found[1], exact[1])
            assert len(found[0]) == min(top, 2 * count)
    assert capfd.readouterr() == ("", "")  # FAISS warns of few rows


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, faces, a voice, and an index with FAISS."""
    folder = tmp_path_factory.mktemp("approximate")
    model = make("cosine", folder / "checkpoint")
    for seed in range(12):
        write_face(folder / f"faces/{seed:02d}.png", seed)
    write_voice(folder / "voice.wav", 1)
    files = files_below(folder / "faces", "face")
    index = build_index(folder / "index", model, "face", files, pytest.fail, detect=False, faiss=True)
    assert index.approximate is not None
    return folder


def test_commands(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "index"
    given = ("index", there / "checkpoint", there / "faces", out, "--asis", "--dtype", "float16", "--faiss")
    assert commands.run_index(words(*given)) == 0
    about = json.loads((out / "index.json").read_text())["faiss"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["approximate.faiss", "embeddings.npy", "index.json", "keys.csv", "refused.csv"]
    )
    assert hashlib.sha256((out / "approximate.faiss").read_bytes()).hexdigest() == about["sha256"]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out}: 12 faces, 16 dimensions"
    assert said[1].startswith(f"FAISS: {about['probes']} of 3 lists are read for a query, ")
    printed = []
    # 12 of 12: too few lie in the lists that are read, so both are exact.
    for more in ((), ("--exact",)):
        asked = ("retrieve", there / "checkpoint", there / "voice.wav", "--index", out, "--top", 12, "--json", *more)
        assert commands.run_retrieve(words(*asked)) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert len(printed[0]["found"]) == 12


def test_exact_leaves_faiss_alone(there: Path, monkeypatch: pytest.MonkeyPatch):
    model = make("cosine", there / "again")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"needs the extra `faiss`: pip install 'voiceface\[faiss\]'; or give --exact"):
        Index(there / "index", model)
    index = Index(there / "index", model, exact=True)
    assert index.approximate is None
    voice = model.embed_voice(there / "voice.wav")
    np.testing.assert_array_equal(
        index.search(voice, 3)[0][0], nearest_points(voice.numpy(), index.rows, 3, "cosine")[0][0]
    )
    files = files_below(there / "faces", "face")
    with pytest.raises(UserError, match=r"needs the extra `faiss`: pip install 'voiceface\[faiss\]'$"):
        build_index(there / "new", model, "face", files, pytest.fail, detect=False, faiss=True)
    assert not (there / "new").exists()


@pytest.mark.parametrize(
    ("kind", "said"), [("pairwise", "scores each pair by a network, which FAISS cannot"), ("relative", "only compares")]
)
def test_methods_without_a_space(kind: str, said: str, there: Path, tmp_path: Path):
    model = make(kind, tmp_path / "checkpoint")
    with pytest.raises(UserError, match=said):
        build_index(tmp_path / "out", model, "face", files_below(there / "faces", "face"), pytest.fail, faiss=True)
    assert not (tmp_path / "out").exists()


def test_files_that_do_not_fit_are_refused(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = make("cosine", tmp_path / "checkpoint")
    shutil.copytree(there / "index", tmp_path / "index")
    file, described = tmp_path / "index/approximate.faiss", tmp_path / "index/index.json"
    good, about = file.read_bytes(), json.loads(described.read_text())

    def refused(said: str, changes: object = None) -> None:
        described.write_text(json.dumps(about | {"faiss": changes if changes is not None else about["faiss"]}))
        with pytest.raises(UserError, match=said) as error:
            Index(tmp_path / "index", model)
        assert "\n" not in str(error.value)

    def lying(raw: bytes) -> dict[str, object]:
        file.write_bytes(raw)
        return about["faiss"] | {"sha256": hashlib.sha256(raw).hexdigest()}

    with monkeypatch.context() as patch:  # FAISS sees none of these
        patch.setattr(faiss, "read_index", lambda *_: pytest.fail("was read"))
        for raw in (b"", good[:-1], good[:100] + b"\1" + good[101:], good + b"\0"):
            file.write_bytes(raw)
            refused("damaged, or of another index")
        build(file, np.random.default_rng(0).random((12, 16), np.float32), "cosine")  # whole, and of other rows
        refused("damaged, or of another index")
        file.write_bytes(good)
        for change in ("text", [], {}, {"sha256": 1}, {"lists": "many"}, {"probes": 0}, {"probes": 99}):
            refused("damaged", about["faiss"] | change if isinstance(change, dict) and change else change)
        file.unlink()
        refused("missing, or cannot be read; make the index again, or give --exact")
    # With a hash that fits: what FAISS refuses, and what it reads but is another kind or size of index.
    refused("FAISS cannot read it", lying(b"nothing"))
    refused("FAISS cannot read it", lying(good[: len(good) // 2]))
    flat = faiss.IndexFlatIP(16)
    refused("damaged, or of another index", lying(faiss.serialize_index(flat).tobytes()))
    for count, dim, space in ((12, 8, "cosine"), (11, 16, "cosine"), (12, 16, "euclidean")):
        other = build(file, np.random.default_rng(0).random((count, dim), np.float32), space)
        refused("damaged, or of another index", other)
    lying(good)
    described.write_text(json.dumps(about))
    assert Index(tmp_path / "index", model).approximate is not None


def test_what_cannot_be_indexed(tmp_path: Path):
    rows = np.full((9, 4), np.nan, np.float32)
    with pytest.raises(UserError, match="--faiss: FAISS cannot index these rows") as error:
        build(tmp_path / "x", rows, "cosine")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_top_of_none(there: Path):
    model = make("cosine", there / "third")
    with pytest.raises(UserError, match="--top 0: give 1 or more"):
        Index(there / "index", model).search(torch.zeros(1, 16), 0)


def test_lists_that_hold_too_few_are_searched_exactly(tmp_path: Path):
    """Rows in two far groups: the list that is read for a query has one group, and more are wanted."""
    rng = np.random.default_rng(0)
    rows = unit(np.concatenate([[1, 0, 0] + 0.01 * rng.standard_normal((8, 3)), -np.eye(3)[[0] * 8]]))
    about = build(tmp_path / "x", rows, "cosine")
    index = approximate.Approximate(read(tmp_path / "x", about, rows, "cosine").index, rows, "cosine", 1, 0.0)
    query = np.array([[1, 0, 0]], np.float32)
    assert len(np.unique(index.index.search(query, 16)[1])) < 17
    assert (index.index.search(query, 16)[1] == -1).any()
    found, exact = index.search(query, 12)[0], nearest_points(query, rows, 12, "cosine")[0]
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_array_equal(found[1], exact[1])
