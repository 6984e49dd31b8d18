"""Ranked examples: against counting by hand, the same queries for all, and faces that may be shown."""

import io
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests_support import examples

from voiceface.compare.render.pictures import SPECTROGRAM, clips_of, embeddings_picture, shown_voice
from voiceface.compare.table import Group
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.synthetic import prepare_synthetic
from voiceface.data.synthetic import SyntheticOptions
from voiceface.evaluation.embeddings import Embeddings
from voiceface.evaluation.examples import embedding_rows, matrix_rows, ranked_examples
from voiceface.evaluation.scoring import score_embeddings

FAST = settings(max_examples=examples(25), deadline=None)
OWNERS = {"voice": [f"p{i % 9}" for i in range(27)], "face": [f"p{i % 11}" for i in range(22)]}
KEYS = {kind: [f"{owner}/{kind}{i}" for i, owner in enumerate(owners)] for kind, owners in OWNERS.items()}


def tables(seed: int, dimensions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((27, dimensions)), rng.standard_normal((22, dimensions))


def ranked(seed: int, kind: str = "cosine") -> list[dict]:
    return ranked_examples(embedding_rows(*tables(seed), kind), KEYS, OWNERS)


def counted(kind: str, query: np.ndarray, candidate: np.ndarray) -> float:
    if kind == "cosine":
        return float(query @ candidate / np.sqrt((query @ query) * (candidate @ candidate)))
    return -float(np.sqrt(sum((a - b) ** 2 for a, b in zip(query, candidate, strict=True))))


@FAST
@given(st.integers(0, 10**6), st.sampled_from(["cosine", "euclidean"]))
def test_ranks_and_first_places_are_those_counted_by_hand(seed: int, kind: str):
    voices, faces = tables(seed)
    found = ranked(seed, kind)
    assert [e["direction"] for e in found] == ["v2f"] * 6 + ["f2v"] * 6
    for example in found:
        sides = [("voice", voices), ("face", faces)]
        (asking, queries), (asked, gallery) = sides if example["direction"] == "v2f" else reversed(sides)
        query = KEYS[asking].index(example["query"])
        person = OWNERS[asking][query]
        order = sorted(range(len(gallery)), key=lambda i: -counted(kind, queries[query], gallery[i]))
        right = [i for i in order if OWNERS[asked][i] == person]
        assert example["candidates"] == len(gallery)
        assert example["rank"] == order.index(right[0]) + 1
        assert example["right"] == KEYS[asked][right[0]]
        assert [b["key"] for b in example["best"]] == [KEYS[asked][i] for i in order[:5]]
        assert [b["same"] for b in example["best"]] == [OWNERS[asked][i] == person for i in order[:5]]
        for b, i in zip(example["best"], order, strict=False):
            assert b["similarity"] == pytest.approx(counted(kind, queries[query], gallery[i]), rel=1e-3)


def test_queries_are_the_same_for_every_model_and_every_order_of_the_clips():
    asked = [(e["direction"], e["query"]) for e in ranked(0)]
    assert [(e["direction"], e["query"]) for e in ranked(1, "euclidean")] == asked
    voices, faces = tables(0)
    shuffled = [np.random.default_rng(5).permutation(len(t)) for t in (voices, faces)]
    keys, people = (
        {kind: [part[kind][i] for i in order] for kind, order in zip(("voice", "face"), shuffled, strict=True)}
        for part in (KEYS, OWNERS)
    )
    rows = embedding_rows(voices[shuffled[0]], faces[shuffled[1]], "cosine")
    assert ranked_examples(rows, keys, people) == ranked(0)
    people_asked = [query.split("/")[0] for direction, query in asked if direction == "v2f"]
    assert len(set(people_asked)) == 6
    assert not {query.split("/")[0] for direction, query in asked if direction == "f2v"} & {"p9", "p10"}  # no voices


def test_among_ties_the_rank_is_the_one_to_expect_in_random_order():
    people = {"voice": ["a"], "face": ["a", "b", "c", "a", "d"]}
    keys = {kind: [f"{kind}{i}" for i in range(len(names))] for kind, names in people.items()}
    scores = np.array([[1.0, 1.0, 3.0, 1.0, 1.0]])  # one better, four alike, two of them right
    (example, *_) = ranked_examples(matrix_rows(scores), keys, people)
    firsts = [min(order.index(i) for i in (0, 1)) for order in permutations(range(4))]
    assert example["rank"] == pytest.approx(2 + np.mean(firsts), abs=0.005)
    constant = embedding_rows(np.ones((27, 3)), np.ones((22, 3)), "cosine")
    ranks = {e["rank"] for e in ranked_examples(constant, KEYS, OWNERS) if e["direction"] == "v2f"}
    assert ranks == {round(23 / 3, 2)}  # two right ones among 22


def test_whoever_has_no_candidate_is_no_query():
    people = {"voice": ["a", "b"], "face": ["b"]}
    keys = {"voice": ["a/0", "b/0"], "face": ["b/1"]}
    found = ranked_examples(matrix_rows(np.zeros((2, 1))), keys, people)
    assert [(e["query"], e["rank"]) for e in found] == [("b/0", 1.0), ("b/1", 1.5)]
    assert ranked_examples(matrix_rows(np.zeros((1, 1))), {"voice": ["a"], "face": ["b"]}, keys) == []


def test_scores_of_embeddings_keep_them_whether_given_as_vectors_or_as_a_matrix():
    voices, faces = tables(3)
    clips = {
        f"{kind}_{what}": np.array(part[kind]) for what, part in (("key", KEYS), ("identity", OWNERS)) for kind in KEYS
    }
    unit = [t / np.linalg.norm(t, axis=1, keepdims=True) for t in (voices, faces)]
    found = [
        score_embeddings(
            Embeddings(voices=v, faces=f, voice_video=None, face_video=None, similarity=how, **clips),
            "mine",
            strata=["U"],
            note=lambda line: None,
        )["examples"]
        for v, f, how in ((voices, faces, "cosine"), (None, None, unit[0] @ unit[1].T))
    ]
    assert found[0] == found[1] == ranked(3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a small synthetic corpus in the built-in one's place, beside an unfinished one."""
    folder = tmp_path_factory.mktemp("cache")
    prepare_synthetic(folder / "synthetic-7", SyntheticOptions(identities=6, voices=1, faces=2))
    (folder / "synthetic-1").mkdir()
    return folder


def group(**data: object) -> Group:
    return Group("clips", "measured", "exact", (), (), data)


def test_clips_are_those_of_the_very_corpus_that_was_scored(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VOICEFACE_CACHE", str(cache))
    corpus = Corpus(cache / "synthetic-7")
    split = next(s for s, part in corpus.description["splits"].items() if part["shards"])
    scored = {"synthetic": True, "split": split, "version": corpus.version}
    clips = clips_of(group(**scored))
    assert clips is not None
    bundle = corpus.index(split)[0]
    voice, face = (members[0] for members in corpus.members(split, bundle))
    for member in (voice, face):
        assert clips(member.key) == corpus.read(split, bundle, member.offset, member.bytes)
    assert clips("no such key") is None
    assert clips_of(group(**{**scored, "version": "0" * 64})) is None
    assert clips_of(group(**{**scored, "synthetic": False})) is None
    assert clips_of(group(**{**scored, "synthetic": None})) is None
    assert clips_of(group(**{**scored, "split": "none"})) is None
    monkeypatch.setenv("VOICEFACE_CACHE", str(cache / "empty"))
    assert clips_of(group(**scored)) is None
    assert not (cache / "empty").exists()


def test_a_voice_is_seen_and_heard():
    time = np.arange(16_000) / 16_000
    flac, low = io.BytesIO(), 16_000 / 512 * 32  # a quarter of the picture's height
    soundfile.write(flac, 0.5 * np.sin(2 * np.pi * low * time), 16_000, format="FLAC")
    picture, sound = shown_voice(flac.getvalue())
    image = Image.open(io.BytesIO(picture))
    assert (image.format, image.size) == ("WEBP", SPECTROGRAM)
    rows = np.asarray(image.convert("L"), float).mean(axis=1)
    assert rows.argmax() == pytest.approx(SPECTROGRAM[1] * 0.75, abs=2)
    heard, rate = soundfile.read(io.BytesIO(sound))
    assert (rate, len(sound) < 4000) == (16_000, True)
    assert np.abs(np.fft.rfft(heard[:16_000])).argmax() == pytest.approx(low, abs=2)
    soundfile.write(silent := io.BytesIO(), np.zeros(10), 16_000, format="FLAC")
    assert shown_voice(silent.getvalue())[0]
    with pytest.raises(OSError, match="no sound"):
        shown_voice(b"fLaC and nothing else")


def test_clips_are_found_without_torch(cache: Path):
    code = (
        "import sys; from pathlib import Path; from voiceface.compare.render.pictures import clips_of;"
        "from voiceface.compare.table import Group; from voiceface.data.corpus.shards import Corpus;"
        f"c = Corpus(Path({str(cache)!r}) / 'synthetic-7');"
        "s = next(s for s, part in c.description['splits'].items() if part['shards']);"
        "d = {'synthetic': True, 'split': s, 'version': c.version};"
        "f = clips_of(Group('', 'measured', 'exact', (), (), d));"
        "assert f(c.members(s, c.index(s)[0])[1][0].key); assert 'torch' not in sys.modules"
    )
    environment = {"VOICEFACE_CACHE": str(cache), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_the_picture_beside_a_result_is_shrunk_or_nothing(tmp_path: Path):
    result = str(tmp_path / "results.json")
    assert embeddings_picture(result) is None
    (tmp_path / "embeddings.png").write_bytes(b"no picture")
    assert embeddings_picture(result) is None
    Image.new("RGB", (1300, 900), "red").save(tmp_path / "embeddings.png")
    shown = Image.open(io.BytesIO(embeddings_picture(result) or b""))
    assert (shown.format, shown.size) == ("WEBP", (640, 443))
