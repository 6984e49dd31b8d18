"""The torchmetrics metric: what it keeps, how it gathers, and that it gives what `score` gives."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests_support import in_processes
from torchmetrics import MeanMetric, MetricCollection

from voiceface.evaluation.metric import CrossModalScores
from voiceface.scores import score
from voiceface.utils.errors import UserError

PEOPLE, VOICES, FACES = 9, 40, 55
NAMES = [f"id{chr(ord('z') - i)}" for i in range(PEOPLE)]  # numbers and names sort apart
TABLE = {name: {"gender": "mf"[i % 2], "nationality": "xyz"[i % 3]} for i, name in enumerate(NAMES)}


def clips() -> list[torch.Tensor]:
    """Voices, identities, faces, identities; everybody has both."""
    random = torch.Generator().manual_seed(3)
    parts = []
    for number in (VOICES, FACES):
        identity = torch.arange(number) % PEOPLE
        parts += [torch.randn(number, 7, generator=random) + torch.eye(PEOPLE, 7)[identity], identity]
    return parts


def expected(similarity: str = "cosine", **options):
    voices, voice_identity, faces, face_identity = (part.numpy() for part in clips())
    names = np.array(NAMES)
    return score(voices, names[voice_identity], faces, names[face_identity], TABLE, similarity, **options)


def feed(metric, voice_rows, face_rows, numbered: bool = True) -> None:
    voices, voice_identity, faces, face_identity = clips()
    numbers = (torch.tensor(voice_rows), torch.tensor(face_rows)) if numbered else ()
    metric.update(voices[voice_rows], voice_identity[voice_rows], faces[face_rows], face_identity[face_rows], *numbers)


def whole(metric, batch: int = 16, numbered: bool = True):
    for start in range(0, max(VOICES, FACES), batch):
        rows = [list(range(start, min(start + batch, number))) for number in (VOICES, FACES)]
        feed(metric, *rows, numbered)
    return metric


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_records_are_those_of_score_whatever_the_batches(similarity):
    options = {"strata": ["U", "GN"], "level": 0.9, "candidates": [2, 4]}
    for batch in (1, 16, 1000):
        metric = whole(CrossModalScores(TABLE, NAMES, similarity, **options), batch)
        assert metric.records() == expected(similarity, **options)


def test_values_are_named_scalars_of_what_exists():
    metric = whole(CrossModalScores(TABLE, NAMES, strata=["U", "G", "E"]))
    values = metric.compute()
    value_of = {
        (r["metric"], r["direction"], r["stratum"]): r["value"]
        for r in metric.records()
        if r["n"] == 2 or r["task"] != "matching"
        if r["protocol"] in ("exact", "whole_split") and r["value"] is not None
    }
    wanted = {
        "accuracy_v2f_U": value_of["accuracy", "v2f", "U"],
        "accuracy_f2v_G": value_of["accuracy", "f2v", "G"],
        "AUC_U": value_of["AUC", "both", "U"],
        "EER_G": value_of["EER", "both", "G"],
        "mAP_v2f": value_of["mAP", "v2f", "U"],
        "R@10_f2v": value_of["R@10", "f2v", "U"],
        "mAP_f2v_G": value_of["mAP", "f2v", "G"],
        "median_rank_v2f": value_of["median_rank", "v2f", "U"],
    }
    assert {name: values[name].item() for name in wanted} == pytest.approx(wanted)
    assert len(values) == len(value_of)
    assert not any(name.endswith("_E") for name in values)  # nobody's ethnicity is known
    assert all(value.ndim == 0 and value.dtype == torch.float32 for value in values.values())


def test_order_is_that_of_the_numbers_and_a_number_counts_once():
    metric = CrossModalScores(TABLE, NAMES)
    random = np.random.default_rng(0)
    feed(metric, [39, 3, 3], [])
    feed(metric, [], [])
    feed(metric, [], [54])
    feed(metric, random.permutation(VOICES).tolist(), random.permutation(FACES).tolist())
    feed(metric, [0, 7], [9, 9])
    assert metric.records() == expected()


def test_clips_without_numbers_all_count():
    assert whole(CrossModalScores(TABLE, NAMES), numbered=False).records() == expected()
    twice = CrossModalScores(TABLE, NAMES)
    for _ in range(2):
        whole(twice, numbered=False)
    (found,) = (r for r in twice.records() if (r["metric"], r["direction"], r["stratum"]) == ("mAP", "v2f", "U"))
    assert (found["n"], found["trials"]) == (2 * FACES, 2 * VOICES)


def test_names_may_be_a_mapping_or_the_numbers_themselves():
    assert whole(CrossModalScores(TABLE, dict(enumerate(NAMES)))).records() == expected()
    unnamed = whole(CrossModalScores({str(i): TABLE[name] for i, name in enumerate(NAMES)}))
    found = {(r["metric"], r["direction"], r["stratum"], r["n"], r["protocol"]): r["value"] for r in unnamed.records()}
    for r in expected():
        key = r["metric"], r["direction"], r["stratum"], r["n"], r["protocol"]
        assert found[key] == pytest.approx(r["value"], abs=1e-12)
    with pytest.raises(UserError, match="voice_identity: number 8 is not among the 8 names"):
        whole(CrossModalScores(TABLE, NAMES[:-1])).compute()


def test_half_precision_is_kept_as_float32():
    voices, voice_identity, faces, face_identity = clips()
    metric = CrossModalScores(TABLE, NAMES)
    metric.update(voices.bfloat16().requires_grad_(), voice_identity.int(), faces.half(), face_identity)
    assert metric.voice_embeddings[0].dtype == torch.float32
    assert not metric.voice_embeddings[0].requires_grad
    names = np.array(NAMES)
    rounded = voices.bfloat16().float().numpy(), faces.half().float().numpy()
    assert metric.records() == score(
        rounded[0], names[voice_identity.numpy()], rounded[1], names[face_identity.numpy()], TABLE
    )


def test_it_behaves_as_a_metric():
    metric = CrossModalScores(TABLE, NAMES)
    feed(metric, [1, 2], [3])
    metric.reset()
    whole(metric)
    again = pickle.loads(pickle.dumps(metric.to("cpu")))
    assert again.records() == metric.clone().records() == metric.records() == expected()
    before = metric.compute()
    feed(metric, [0], [0])
    assert metric.compute() == before  # computed anew, from the same clips
    metric.reset()
    with pytest.raises(UserError, match="voice_identity"):
        metric.compute()


def test_it_shares_its_embeddings_within_a_collection():
    scores = {name: CrossModalScores(TABLE, NAMES, name, candidates=[2]) for name in ("cosine", "euclidean")}
    collection = MetricCollection(dict(scores), prefix="val/")
    whole(collection)
    values = collection.compute()
    assert values["val/euclidean_AUC_U"] != values["val/cosine_AUC_U"]
    for name in scores:
        assert collection[name].records() == expected(name, candidates=[2])
    assert collection["cosine"].voice_embeddings is not None
    assert len(collection.compute_groups) == 1
    mixed = MetricCollection({"scores": CrossModalScores(TABLE, NAMES), "loss": MeanMetric()})
    assert mixed.clone(postfix="_test")["scores"].names == dict(enumerate(NAMES))


def test_what_does_not_fit_is_refused():
    voices, voice_identity, faces, face_identity = clips()
    metric = CrossModalScores()
    with pytest.raises(UserError, match="one row per face"):
        metric.update(voices, voice_identity, faces[1:], face_identity)
    with pytest.raises(UserError, match="one row per voice"):
        metric.update(voices, voice_identity, faces, face_identity, voice_index=torch.arange(3))
    with pytest.raises(UserError, match=r"give \(N, D\)"):
        CrossModalScores().update(voices[:, 0], voice_identity, faces, face_identity)
    with pytest.raises(UserError, match="similarity: 'dot'"):
        CrossModalScores(similarity="dot")


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]):
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    (example,) = (part.split("```")[0] for part in page.split("```python\n") if "import CrossModalScores" in part)
    exec(compile(example, "python.md", "exec"), {})
    assert capsys.readouterr().out.startswith("1:2 0.")


def share(rank: int, world: int) -> tuple[list[int], list[int]]:
    """Uneven shares of the rows, in disorder; with 4 processes the third has nothing and the last only faces."""
    if world == 4:
        voices = [list(range(0, VOICES, 2)), list(range(1, VOICES, 2)), [], []]
        faces = [list(range(3)), list(range(30, 2, -1)), [], list(range(31, FACES))]
        return voices[rank], faces[rank]
    return list(range(rank, VOICES, world)), list(range(FACES - 1 - rank, -1, -world))


def process(rank: int, world: int, folder: str) -> None:
    """One of 4 processes; the first `n` of them are also a group of n."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    found = {}
    for size in (4, 2, 1):
        group = dist.new_group(range(size))
        if rank >= size:
            continue
        metric = CrossModalScores(TABLE, NAMES)
        metric.process_group = group
        rows = share(rank, size)
        if any(rows):
            for part in (slice(0, 5), slice(5, None)):
                feed(metric, rows[0][part], rows[1][part])
            feed(metric, [0], [])  # everybody has voice 0, as if a sampler had padded
        kept = len(metric.voice_embeddings), len(metric.face_index)
        values = metric.compute()
        found[size] = metric.records()
        assert found[size] is metric.records()
        assert math.isclose(
            values["AUC_U"].item(), next(r["value"] for r in found[size] if r["metric"] == "AUC"), rel_tol=1e-6
        )
        assert (len(metric.voice_embeddings), len(metric.face_index)) == kept  # its own again
        metric.reset()
        assert metric.voice_embeddings == []
    torch.save({size: [plain(r) for r in records] for size, records in found.items()}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def plain(record: Any) -> dict[str, Any]:
    """A record with the effects of people, of plain types."""
    return {**record, "effects": None if record.effects is None else record.effects.tolist()}


def test_any_number_of_processes_gives_the_same_records_to_the_last_bit(tmp_path: Path):
    in_processes(4, process, 4, tmp_path)
    alone = whole(CrossModalScores(TABLE, NAMES)).records()
    assert alone == expected()
    for rank, sizes in enumerate([{1, 2, 4}, {2, 4}, {4}, {4}]):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert set(found) == sizes
        for records in found.values():
            assert records == [plain(r) for r in alone]
