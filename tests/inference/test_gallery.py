"""Indexes and the exact search, against sorting all similarities."""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_support import make, write_face
from tests_support import examples

from voiceface.inference import search
from voiceface.inference.gallery import Index, build_index
from voiceface.inference.media import files_below
from voiceface.inference.model import Model
from voiceface.inference.search import nearest, nearest_points, unit
from voiceface.utils.errors import UserError


def nothing(key: str, reason: str) -> None:
    raise AssertionError(f"{key} was refused: {reason}")


def brute(query: np.ndarray, gallery: np.ndarray, top: int, space: str) -> tuple[list[int], list[float]]:
    """Every pair by itself, in Python's own order."""
    scores = []
    for row in gallery.astype(np.float64):
        if space == "cosine":
            scores.append(float((row * unit(query[None])[0].astype(np.float64)).sum()))
        else:
            scores.append(-float(np.sqrt(((row - query.astype(np.float64)) ** 2).sum())))
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:top]
    return order, [scores[i] for i in order]


@settings(max_examples=examples(80), deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 60),
    st.integers(1, 7),
    st.integers(1, 70),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from([np.float32, np.float16]),
    st.booleans(),
    st.sampled_from([4, 16, 1 << 14]),
)
def test_search_is_brute_force(
    seed: int, count: int, dim: int, top: int, space: str, dtype: type, few: bool, chunk: int
):
    rng = np.random.default_rng(seed)
    # Few values: many rows are the same, and ties must go to the first.
    gallery = rng.integers(-1, 2, (count, dim)) if few else rng.standard_normal((count, dim)) * 10 ** rng.uniform(-2, 2)
    gallery = unit(gallery) if space == "cosine" else gallery
    gallery = gallery.astype(dtype)
    queries = rng.standard_normal((3, dim)).astype(np.float32)
    kept = search.CHUNK, search.QUERIES
    search.CHUNK, search.QUERIES = chunk, 2
    try:
        found = nearest_points(queries, gallery, top, space)
    finally:
        search.CHUNK, search.QUERIES = kept
    for query, (places, scores) in zip(queries, found, strict=True):
        expected = brute(query, gallery, top, space)
        assert places.tolist() == expected[0]
        np.testing.assert_allclose(scores, expected[1], rtol=0, atol=1e-12)


def test_ties_in_a_large_gallery_go_to_the_first():
    """Matrix products may give equal rows unequal values by their place; the answer must not depend on that."""
    rng = np.random.default_rng(0)
    gallery = unit(rng.standard_normal((40_000, 48)))
    best = np.sort(rng.choice(len(gallery), 700, replace=False))
    gallery[best] = gallery[best[0]]
    places, scores = nearest_points(gallery[best[:1]], gallery, 100, "cosine")[0]
    assert places.tolist() == best[:100].tolist()
    assert len(set(scores.tolist())) == 1


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for seed in range(12):
        write_face(folder / f"p{seed % 4}" / f"{seed:02d}.png", seed)
    write_face(folder / "p0" / "copy.png", 4)  # a duplicate of p0/04.png
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    return folder


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "pairwise"])
def test_an_index_finds_what_the_similarities_say(kind: str, faces: Path, tmp_path: Path):
    model = make(kind, tmp_path / "checkpoint")
    files = files_below(faces, "face")
    assert len(files) == 13
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as torch's of read-only memory
        warnings.filterwarnings("ignore", ".*(synthetic people|no speech|torch.jit)")
        index = build_index(tmp_path / "index", model, "face", files, nothing, detect=False)
        torch.manual_seed(1)
        voices = model.embed_voice([torch.randint(-9000, 9000, (16_000 + 4000 * i,)).short() for i in range(4)])
        places, scores = index.search(voices, 5)
    embedded = model.embed_face([path for _, path in files], detect=False)
    similarity = model.similarity(voices, embedded)
    assert places.shape == scores.shape == (4, 5)
    for row, found, score in zip(similarity, places, scores, strict=True):
        np.testing.assert_allclose(score, row[found].numpy(), atol=2e-5)
        np.testing.assert_allclose(score, row.sort(descending=True).values[:5].numpy(), atol=2e-5)
    assert index.keys == [key for key, _ in files]
    everything = index.search(voices, 100)[0]
    first, second = (np.argwhere(everything == index.keys.index(key))[:, 1] for key in ("p0/04.png", "p0/copy.png"))
    assert (second == first + 1).all()  # the same picture twice: side by side, the first one first
    again = nearest(model, voices, "face", Index(tmp_path / "index", model).rows, 5)
    np.testing.assert_array_equal(again[0], places)
    if kind == "cosine":
        _, rows = model.embed_usable("face", files, nothing, detect=False)
        direct = nearest(model, voices, "face", unit(rows), 5)
        np.testing.assert_array_equal(direct[0], places)
        np.testing.assert_array_equal(direct[1], scores)
        half = build_index(tmp_path / "half", model, "face", files, nothing, "float16", False)
        assert half.rows.dtype == np.float16
        np.testing.assert_allclose(half.search(voices, 5)[1], scores, atol=1e-3)


def test_voices_are_found_for_a_face(tmp_path: Path):
    model = make("pairwise", tmp_path / "checkpoint")
    voices = model.embed_voice([torch.randint(-9000, 9000, (16_000,)).short() for _ in range(6)])
    face = model.embed_face(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), detect=False)
    places, scores = nearest(model, face, "voice", voices.numpy(), 6)
    expected = model.similarity(voices, face)[:, 0]
    np.testing.assert_allclose(scores[0], expected[torch.from_numpy(places[0])].numpy(), atol=1e-6)
    assert sorted(places[0].tolist()) == list(range(6))
    assert (np.diff(scores[0]) <= 0).all()


def test_what_cannot_be_used_is_left_out_and_listed(faces: Path, tmp_path: Path):
    model = make("cosine", tmp_path / "checkpoint")
    folder = tmp_path / "faces"
    for seed in range(3):
        write_face(folder / f"{seed}.png", seed)
    (folder / "1a, odd.png").write_text("no picture")
    told: list[tuple[str, str]] = []
    out = tmp_path / "index"
    index = build_index(out, model, "face", files_below(folder, "face"), lambda *r: told.append(r), "float32", False)
    assert index.keys == ["0.png", "1.png", "2.png"]
    assert told == [("1a, odd.png", "not an image")]
    assert (out / "refused.csv").read_text() == 'key,reason\n"1a, odd.png",not an image\n'
    torch.testing.assert_close(
        torch.from_numpy(np.array(index.rows)),
        torch.nn.functional.normalize(model.embed_face([folder / f"{i}.png" for i in range(3)], detect=False)),
    )
    for bad in (folder, tmp_path / "index"):
        with pytest.raises(UserError, match="already exists"):
            build_index(bad, model, "face", files_below(folder, "face"), nothing)
    (folder / "only").mkdir()
    (folder / "only" / "x.jpg").touch()
    with pytest.raises(UserError, match=r"no face of 1 can be used \(the last one: empty file\)"):
        build_index(
            tmp_path / "none", model, "face", files_below(folder / "only", "face"), lambda *r: None, detect=False
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "faces", "index"]  # nothing half written
    with pytest.raises(UserError, match="no voices in it"):
        files_below(folder, "voice")
    with pytest.raises(UserError, match="no such folder"):
        files_below(tmp_path / "nowhere", "face")


def test_odd_file_names_come_back(tmp_path: Path):
    model = make("cosine", tmp_path / "checkpoint")
    names = sorted([" a .png", "b;c,d.png", 'e"f.png', "g\nh.png", "bytes\udcff.png"])
    for seed, name in enumerate(names):
        write_face(tmp_path / "faces" / name, seed)
    files = files_below(tmp_path / "faces", "face")
    index = build_index(tmp_path / "index", model, "face", files, nothing, detect=False)
    assert index.keys == names
    (tmp_path / "index/keys.csv").unlink()
    with pytest.raises(UserError, match="damaged or missing"):
        Index(tmp_path / "index", model)


def test_a_stop_in_the_middle_leaves_nothing(faces: Path, tmp_path: Path):
    model = make("cosine", tmp_path / "checkpoint")
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "i", model, "face", files_below(faces, "face"), nothing, detect=False, done=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_an_index_that_does_not_fit_is_refused(faces: Path, tmp_path: Path):
    model: Model = make("cosine", tmp_path / "checkpoint")
    out = tmp_path / "index"
    build_index(out, model, "face", files_below(faces, "face"), nothing, detect=False)
    with pytest.raises(UserError, match=r"no index \(no index\.json\)"):
        Index(faces, model)
    with pytest.raises(UserError, match="made with another checkpoint"):
        Index(out, make("pairwise", tmp_path / "other"))
    about = json.loads((out / "index.json").read_text())
    for change, said in (
        ({"schema": 9}, "schema 9, this version reads 1"),
        ({"count": 12}, "damaged"),
        ({"kind": "cat"}, "damaged"),
        ({"dtype": "float16"}, "damaged"),
        ({"dim": "many"}, "damaged"),
    ):
        (out / "index.json").write_text(json.dumps(about | change))
        with pytest.raises(UserError, match=said):
            Index(out, model)
    (out / "index.json").write_text(json.dumps(about))
    np.save(out / "embeddings.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(UserError, match="never unpickled"):
        Index(out, model)
    np.save(out / "embeddings.npy", np.full((about["count"], about["dim"]), np.nan, np.float32))
    with pytest.raises(UserError, match=r"damaged \(rows that are not finite"):
        Index(out, model).search(torch.ones(1, about["dim"]), 2)


def test_a_folder_that_cannot_be_read_is_not_passed_over(faces: Path, tmp_path: Path):
    above = os.open(shutil.copytree(faces, tmp_path / "gallery"), os.O_RDONLY)
    for _ in range(20):  # deeper than a path may be long: not even root can list it by its name
        os.mkdir("d" * 250, dir_fd=above)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    with pytest.raises(UserError, match=r"d: cannot be read \(file name too long\); let it be read"):
        files_below(tmp_path / "gallery", "face")


def test_methods_that_only_compare_candidates_have_no_index(faces: Path, tmp_path: Path):
    model = make("relative", tmp_path / "checkpoint")
    with pytest.raises(UserError, match="it can match, and neither retrieve"):
        build_index(tmp_path / "index", model, "face", files_below(faces, "face"), nothing)
    with pytest.raises(UserError, match="it can match, and neither retrieve"):
        nearest(model, torch.zeros(1, 32), "face", np.zeros((3, 32), np.float32), 2)
