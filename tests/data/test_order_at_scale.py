import csv
import io
import json
import pickle
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.corpus import index as index_file
from voiceface.data.corpus.index import COLUMNS, Bundle, Index, read_index
from voiceface.data.corpus.shards import Corpus
from voiceface.data.stream.batches import TrainingBatches
from voiceface.data.stream.order import epoch_plan
from voiceface.data.stream.sampling import Sampling
from voiceface.utils.errors import UserError

WORLD, WORKERS, PEOPLE, SHARDS = 64, 8, 2, 500

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6)
BUNDLES = st.lists(
    st.builds(Bundle, NAMES, NAMES, NAMES, *(st.integers(0, 10**n) for n in (12, 9, 2, 2))), min_size=1, max_size=40
)


def table(bundles: list[Bundle], columns: tuple[str, ...] = COLUMNS) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(asdict(bundle) for bundle in bundles)
    return text.getvalue().encode()


@given(BUNDLES, st.permutations(COLUMNS), st.integers(1, 200))
@settings(max_examples=examples(150), deadline=None)
def test_an_index_reads_back_as_it_was_written(bundles: list[Bundle], columns: list[str], chunk: int):
    whole, index_file.CHUNK = index_file.CHUNK, chunk
    try:
        index = read_index(table(bundles, tuple(columns)))
    finally:
        index_file.CHUNK = whole
    assert list(index) == list(Index.of(bundles)) == list(pickle.loads(pickle.dumps(index))) == bundles
    assert index.names == sorted({b.identity for b in bundles})
    assert [index.names[number] for number in index.identity] == [b.identity for b in bundles]
    paired = [b for b in bundles if b.voices and b.faces]
    assert list(index.paired()) == paired
    assert index.paired().names == sorted({b.identity for b in paired})
    assert list(index[3:9]) == bundles[3:9]
    assert index[-1] == bundles[-1]


@pytest.mark.parametrize(
    "row",
    [
        "s,k,i,0,1,1",
        "s,k,i,0,1,1,1,1,1,1,1,1,1,1",  # more cells than the header has: nobody reads them
        "s,k,i,0,1,1\ns,k,i,0,1,1,1,1",  # as many cells in two rows as two rows have
        "s,k,i,0,1,1,-1",
        "s,k,i,0,1,1,x",
        "s,k,i,0,1,1,",
        "s,k,i,0,1,1,1e3",
        "s,k,i,99999999999999999999,1,1,1",
        "\n",
    ],
)
def test_what_the_csv_module_would_read_is_read_and_the_rest_refused(row: str):
    text = table([Bundle("s", "k", "i", 0, 1, 1, 1)] * 2).decode() + row + "\n"
    reference = list(csv.DictReader(io.StringIO(text)))
    try:
        good = all(0 <= int(line[name]) < 2**63 for line in reference for name in COLUMNS[3:])
    except (TypeError, ValueError):
        good = False
    if good:
        assert len(read_index(text.encode())) == len(reference)
    else:
        with pytest.raises(ValueError, match=r"negative|not an index|invalid literal"):
            read_index(text.encode())


def test_an_index_that_is_not_utf_8_is_refused():
    with pytest.raises(UnicodeDecodeError):
        read_index(table([Bundle("s", "k\xff", "i", 0, 1, 1, 1)]).decode().encode("latin-1"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Bundle]]:
    """A corpus of many shards and people without their media."""
    root = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(300), rng.integers(5, 30, 300))
    bundles = [
        Bundle(f"{number % SHARDS:06d}.tar", f"{number:07d}", f"id{person:05d}", 512 * number, 4096, 3, int(person > 9))
        for number, person in enumerate(rng.permutation(people))
    ]
    shards = [{"name": f"{n:06d}.tar", "bytes": 1 << 28, "sha256": "0" * 64} for n in range(SHARDS)]
    nothing = {"shards": [], "index_sha256": "0" * 64}
    description = {
        "schema": 1,
        "name": "large",
        "plan": {},
        "identities_sha256": "0" * 64,
        "face_size": 112,
        "face_margin": 1.0,
        "splits": {"train": {"shards": shards, "index_sha256": "0" * 64}, "val": nothing, "test": nothing},
    }
    (root / "train").mkdir()
    (root / "corpus.json").write_text(json.dumps(description))
    (root / "train/index.csv").write_bytes(table(bundles))
    return root, bundles


def test_a_cluster_deals_every_bundle_at_most_once_and_covers_everybody(large: tuple[Path, list[Bundle]]):
    root, bundles = large
    corpus = Corpus(root)
    paired = corpus.index("train").paired()
    assert list(paired) == [b for b in bundles if b.faces]
    sampling = Sampling(PEOPLE, 2, 2, 2.5, 112, 1.0, False, 7)
    epochs = 24
    used: Counter[str] = Counter()
    first = TrainingBatches(corpus, "train", paired, sampling, "stop", 0, WORLD)
    copies = [pickle.loads(pickle.dumps(first)) for _ in range(2)]
    for epoch in range(epochs):
        plan = epoch_plan(first.identities, PEOPLE, WORLD, sampling.seed, epoch)
        assert plan.shape == (first.steps, WORLD, PEOPLE)
        for copy in copies:  # what a worker makes of what it is handed
            assert (epoch_plan(copy.identities, PEOPLE, WORLD, sampling.seed, epoch) == plan).all()
        taken: set[str] = set()
        for rank in range(WORLD):
            for worker in range(WORKERS):
                mine = {first.bundles[int(number)].key for number in plan[worker::WORKERS, rank].ravel()}
                assert len(mine) == PEOPLE * len(range(worker, first.steps, WORKERS))
                assert not mine & taken
                taken |= mine
        for step in plan:
            people = [first.bundles[int(number)].identity for number in step.ravel()]
            assert len(set(people)) == WORLD * PEOPLE
            used.update(people)
    has = Counter(b.identity for b in bundles if b.faces)
    can = {person: min(count, first.steps) for person, count in has.items()}
    share = sum(used.values()) / epochs / sum(can.values())
    ratio = [used[person] / (epochs * share * count) for person, count in can.items()]
    assert first.steps >= 20
    assert 0.7 < min(ratio) <= max(ratio) < 1.3


def test_an_index_that_names_an_unknown_shard_is_refused(large: tuple[Path, list[Bundle]], tmp_path: Path):
    root, bundles = large
    (tmp_path / "train").mkdir()
    (tmp_path / "corpus.json").write_bytes((root / "corpus.json").read_bytes())
    (tmp_path / "train/index.csv").write_bytes(table([*bundles, Bundle("other.tar", "k", "i", 0, 1, 1, 1)]))
    with pytest.raises(UserError, match=r"names 'other\.tar'"):
        Corpus(tmp_path).index("train")
