import json
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tests_support import in_processes

from voiceface.data.corpus.shards import Corpus
from voiceface.data.module import VoxVGGDataModule
from voiceface.evaluation.callback import CrossModalMetrics
from voiceface.evaluation.results import RECORD, data_hash, read_results, write_results
from voiceface.evaluation.tables import print_table
from voiceface.methods.base import Method
from voiceface.utils.errors import UserError


class Known(Method):
    """Embeds a clip of the tone corpus as its person's number, read from its own content, or as a constant."""

    def __init__(self, constant: bool, space: str = "cosine") -> None:
        super().__init__("face_small", "voice_small")
        self.constant, self.space = constant, space
        self.face_encoder, self.voice_encoder = torch.nn.Identity(), torch.nn.Identity()
        self.face_encoder.size, self.face_encoder.margin = 32, 1.0

    def _circle(self, number: torch.Tensor) -> torch.Tensor:
        angle = (0 if self.constant else 0.2) * number.round()
        return torch.stack([angle.cos(), angle.sin()], 1)

    def embed_voice(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        peaks = [
            torch.fft.rfft(w[:n].float()).abs().argmax() * 16_000 / n for w, n in zip(waveforms, lengths, strict=True)
        ]
        return self._circle((torch.stack(peaks) - 100) / 20)

    def embed_face(self, faces: torch.Tensor) -> torch.Tensor:
        return self._circle(faces.float().mean((1, 2, 3)) / 10)

    def loss(self, voices, faces, voice_identity, face_identity):
        raise AssertionError("not trained")

    def configure_optimizers(self):
        return None


def evaluate(
    root: Path,
    constant: bool,
    out: Path | None = None,
    workers: int = 0,
    on_error: str = "stop",
    space: str = "cosine",
) -> dict:
    metrics = CrossModalMetrics(str(out) if out else None, "known", trials=500)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[metrics], enable_checkpointing=False, enable_progress_bar=False
    )
    data = VoxVGGDataModule(str(root), workers=workers, evaluation_on_error=on_error)
    trainer.test(Known(constant, space), datamodule=data, verbose=False)
    return metrics.results


def test_embeddings_are_gathered_in_the_order_of_their_keys(root: Path):
    metrics = CrossModalMetrics()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[metrics], enable_checkpointing=False, enable_progress_bar=False
    )
    data = VoxVGGDataModule(str(root), workers=0, evaluation_bundles=3)
    trainer.predict(Known(False), datamodule=data, return_predictions=False)
    gathered = metrics.table.gather()
    for kind, number in (("voice", 22), ("face", 18)):
        keys = gathered[f"{kind}_keys"].tolist()
        assert keys == sorted(keys)
        assert len(set(keys)) == number
        people = np.array([int(key[1:4]) for key in keys])
        np.testing.assert_array_equal(gathered[f"{kind}_identity"], people - 2)
        circle = np.stack([np.cos(0.2 * people), np.sin(0.2 * people)], 1)
        np.testing.assert_allclose(gathered[f"{kind}s"], circle, atol=1e-6)


def process(rank: int, root: str, out: str, space: str) -> None:
    """One of three processes."""
    metrics = CrossModalMetrics(out, "known", trials=500)
    trainer = pl.Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=3,
        logger=False,
        callbacks=[metrics],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    data = VoxVGGDataModule(root, workers=0, evaluation_bundles=4)
    assert 4 < len(data.bundles("test")) <= 8  # two batches
    trainer.test(Known(False, space), datamodule=data, verbose=False)


@pytest.mark.parametrize("space", ["cosine", "pairwise", "relative"])
def test_three_processes_one_without_a_batch_give_the_result_of_one_to_the_last_bit(
    root: Path, tmp_path: Path, space: str
):
    alone = evaluate(root, constant=False, space=space)
    in_processes(3, process, root, tmp_path / "results.json", space)
    together = read_results(tmp_path / "results.json")
    assert ("examples" in alone) == (space != "relative")
    for section in {"model", "data", "scores", "examples"} & alone.keys():
        assert together[section] == json.loads(json.dumps(alone[section]))


def accuracies(results: dict) -> dict:
    return {
        (r["direction"], r["stratum"]): r["value"]
        for r in results["scores"]
        if r["task"] == "matching" and r["protocol"] == "exact" and r["n"] == 2
    }


@pytest.fixture
def root(make_corpus) -> Path:
    return make_corpus([("train", 2, 2)] * 2 + [("test", 3, 4), ("test", 1, 2), ("test", 5, 1), ("test", 2, 2)] * 2)


def test_a_perfect_method_scores_one_and_a_constant_one_exactly_half(root: Path):
    perfect, constant = evaluate(root, constant=False), evaluate(root, constant=True)
    assert set(accuracies(perfect).values()) == {1.0}
    assert set(accuracies(constant).values()) == {0.5}
    best = {r["metric"]: r["value"] for r in perfect["scores"] if r["task"] == "retrieval"}
    assert best["mAP"] == best["R@1"] == 1
    for record in constant["scores"]:
        if record["value"] is not None:  # such as 1:N among fewer than N people
            assert record["value"] == pytest.approx(record["chance"]), record


@pytest.mark.parametrize("space", ["pairwise", "relative"])
def test_methods_that_compare_by_a_network_are_scored_by_it(root: Path, space: str):
    perfect, constant = (evaluate(root, constant=c, space=space) for c in (False, True))
    tasks = {"matching", "verification", "retrieval"} if space == "pairwise" else {"matching"}
    assert {r["task"] for r in perfect["scores"]} == tasks
    for results, wanted in ((perfect, 1.0), (constant, 0.5)):
        found = [r for r in results["scores"] if r["task"] == "matching" and r["n"] == 2 and r["value"] is not None]
        assert {r["protocol"] for r in found} >= {"exact" if space == "pairwise" else "sampled"}
        assert {round(r["value"], 9) for r in found} == {wanted}
    print_table(perfect)


def test_the_result_says_what_was_scored_and_is_written_whole(root: Path, tmp_path: Path):
    results = evaluate(root, constant=False, out=tmp_path / "deep" / "results.json")
    written = read_results(tmp_path / "deep" / "results.json")
    assert {k: v for k, v in written.items() if k not in ("effects", "sha256")} == json.loads(json.dumps(results))
    assert written["roc"]["U"] == [1.0] * 101  # a perfect method accepts all that is right before anything else
    data = results["data"]
    assert (data["identities"], data["voices"], data["faces"], data["synthetic"]) == (8, 22, 18, False)
    counts = [(3, 4), (1, 2), (5, 1), (2, 2)] * 2
    keys = [f"p{i + 2:03d}/v{k:02d}" for i, (n, _) in enumerate(counts) for k in range(n)]
    keys += [f"p{i + 2:03d}/f{k:02d}" for i, (_, n) in enumerate(counts) for k in range(n)]
    assert data["clips_sha256"] == data_hash(reversed(keys))
    assert "ideal_observer" not in results
    assert all(tuple(r) == RECORD for r in results["scores"])
    assert evaluate(root, constant=False, workers=3)["scores"] == results["scores"]


def test_clips_that_were_left_out_are_counted_in_the_result(root: Path, capsys: pytest.CaptureFixture[str]):
    corpus = Corpus(root)
    bundle = next(b for b in corpus.index("test") if b.voices > 1)
    voice = corpus.members("test", bundle)[0][0]
    shard = root / "test" / bundle.shard
    content = bytearray(shard.read_bytes())
    start = bundle.offset + voice.offset
    content[start : start + voice.bytes] = bytes(voice.bytes)
    shard.write_bytes(content)
    with pytest.raises(UserError, match=f"voice {voice.key} is damaged"):
        evaluate(root, constant=False)
    results = evaluate(root, constant=False, on_error="skip")
    assert (results["data"]["voices"], results["data"]["skipped"]) == (21, 1)
    print_table(results)
    assert "1 damaged clips were left out" in capsys.readouterr().out


def test_results_of_another_schema_are_refused(root: Path, tmp_path: Path):
    results = evaluate(root, constant=True)
    for broken, message in (
        ({**results, "schema": 3}, "schema 3, this version reads .* update voiceface"),
        ({k: v for k, v in results.items() if k != "data"}, "no data"),
        ({**results, "scores": [{"value": 1}]}, "has the fields value"),
    ):
        with pytest.raises(UserError, match=message):
            write_results(tmp_path / "r.json", broken)
        assert not (tmp_path / "r.json").exists()
        (tmp_path / "bad.json").write_text(json.dumps(broken))
        with pytest.raises(UserError, match=message):
            read_results(tmp_path / "bad.json")
    with pytest.raises(UserError, match="no such result file"):
        read_results(tmp_path / "none.json")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_results(tmp_path / "file" / "r.json", results)


def test_the_table_prints_what_the_file_holds(root: Path, capsys: pytest.CaptureFixture[str]):
    results = evaluate(root, constant=False)
    for record in results["scores"]:
        if record["stratum"] == "G":
            record["value"] = None
    print_table(results)
    printed = capsys.readouterr().out
    assert "known on tones (test: 8 people, 22 voices, 18 faces)" in printed
    row = next(line for line in printed.splitlines() if "anybody" in line)
    assert row.count("100.0 ±") == 3  # accuracy both ways, and AUC
    assert next(line for line in printed.splitlines() if "same gender" in line).split().count("-") == 4
    assert "ideal" not in printed
    assert "synthetic" not in printed


def test_the_ideal_observer_is_at_chance_where_every_categorical_trait_agrees(tmp_path: Path):
    from voiceface.data.synthetic import SyntheticOptions, log_likelihood_ratio, person

    options = SyntheticOptions(identities=1, strength=0.0, seed=5)
    people = [person(options, i) for i in range(1500)]
    alike: dict[tuple, list] = {}
    for p in people:
        alike.setdefault((p.truth.gender, p.truth.nationality, p.truth.language), []).append(p)
    wins = []
    for group in alike.values():
        ratio = log_likelihood_ratio(
            np.array([p.voice.vector() for p in group]), np.array([p.face.vector() for p in group]), 0.0
        )
        own = ratio.diagonal()[:, None]
        credit = (own > ratio) + 0.5 * (own == ratio)
        wins += credit[~np.eye(len(group), dtype=bool)].tolist()
    assert len(wins) > 50_000
    assert abs(np.mean(wins) - 0.5) < 0.02
