"""What does `voiceface extract` cost, and how much quicker do heads train on features? Ratios within one run.

`extract` is the whole command on every clip of the corpus; `bare` decodes the same clips and passes them through the
same networks in a plain loop in one process, clip after clip for voices, by 64 for faces, and keeps nothing. Then the
steps per second of TriNet's demo preset on the corpus, its networks trained too, and of its heads on the features. The
networks have random weights: speed does not depend on them.

    python -m benchmarks.data.extract [--data CORPUS] [--repeats 3]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from benchmarks.machine import describe
from safetensors.torch import save_file

from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.corpus.shards import SPLITS, Corpus
from voiceface.data.features.extract import extract
from voiceface.data.module import VoxVGGDataModule
from voiceface.encoders import face_encoder, voice_encoder
from voiceface.encoders.pretrained.frozen import Frozen, of_weights
from voiceface.methods.recipes import load_recipe
from voiceface.methods.trinet import TriNet
from voiceface.training.fit import quiet


class Clock(pl.Callback):
    """Steps per second, without the first ones, in which workers start."""

    def __init__(self, first: int) -> None:
        self.first, self.rate = first, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Look at the clock."""
        if trainer.global_step == self.first:
            self.start = time.perf_counter()
        elif trainer.global_step > self.first:
            self.rate = (trainer.global_step - self.first) / (time.perf_counter() - self.start)


def steps_per_second(root: str, encoders: str, steps: int, workers: int) -> float:
    """Train TriNet's demo preset for some steps."""
    settings = load_recipe("trinet", "demo", encoders)
    arguments = {name: value for name, value in settings["model"].items() if name != "class_path"}
    about = Corpus(root).description.get("features")
    for kind in ("face", "voice"):
        if about is not None:
            arguments[f"{kind}_options"] = {n: about[f"{kind}s"][n] for n in ("dim", "encoder", "weights")}
    data = VoxVGGDataModule(root, **{**settings["data"], "workers": workers})
    clock = Clock(10)
    trainer = pl.Trainer(
        max_steps=10 + steps,
        callbacks=[clock],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(TriNet(**arguments), datamodule=data)
    return float(clock.rate)


@torch.inference_mode()
def bare(corpus: Corpus, frozen: Frozen) -> float:
    """Clips per second of decoding and the networks alone."""
    start, clips, faces = time.perf_counter(), 0, []
    for split in SPLITS:
        for _, member, data in corpus.clips(split):
            clips += 1
            if member.name.startswith("v"):
                frozen.voice(torch.from_numpy(cut_voice(data, None, None))[None])
                continue
            picture = cut_face(data, corpus.face_size, corpus.face_margin, frozen.face.size, frozen.face.margin)
            faces.append(torch.from_numpy(picture.copy()).permute(2, 0, 1))
            if len(faces) == 64:
                frozen.face(torch.stack(faces))
                faces = []
        if faces:
            frozen.face(torch.stack(faces))
            faces = []
    return clips / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="corpus; default: the built-in one")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    root = options.data or builtin_corpus()
    corpus = Corpus(root)
    clips: int = sum(corpus.description["splits"][split][kind] for split in SPLITS for kind in ("voices", "faces"))
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: Path(folder) / f"{kind}.safetensors" for kind in ("voice", "face")}
        save_file(voice_encoder("voice_small").state_dict(), files["voice"])
        save_file(face_encoder("face_small").state_dict(), files["face"])
        frozen = of_weights("voice_small", "face_small", files["voice"], files["face"])
        for repeat in range(options.repeats):
            out = Path(folder) / f"features{repeat}"

            def timed(workers: int, out: Path = out) -> float:
                start = time.perf_counter()
                extract(out.with_name(f"{out.name}-{workers}"), corpus, frozen, workers=workers)
                return clips / (time.perf_counter() - start)

            measured = {
                "bare, clips/s": bare(corpus, frozen),
                "extract, 0 workers, clips/s": timed(0),
                "extract, 2 workers, clips/s": timed(2),
                "full demo training, steps/s": steps_per_second(root, "paper", 40, 1),
                "heads on features, 0 workers, steps/s": steps_per_second(f"{out}-0", "features", 300, 0),
                "heads on features, 1 worker, steps/s": steps_per_second(f"{out}-0", "features", 300, 1),
            }
            for name, value in measured.items():
                rates.setdefault(name, []).append(value)
        stored = sum(path.stat().st_size for path in Path(f"{out}-0").rglob("*") if path.is_file())
    whole = sum(shard["bytes"] for split in SPLITS for shard in corpus.description["splits"][split]["shards"])

    def ratio(one: str, other: str) -> float:
        return round(float(median(a / b for a, b in zip(rates[one], rates[other], strict=True))), 2)

    names = list(rates)
    ratios = {
        "extract, 0 workers / bare": ratio(names[1], names[0]),
        "extract, 2 workers / bare": ratio(names[2], names[0]),
        "heads, 0 workers / full demo training": ratio(names[4], names[3]),
        "heads, 1 worker / full demo training": ratio(names[5], names[3]),
    }
    for name, values in rates.items():
        print(f"{name:40s} {median(values):10.1f}")
    for name, value in ratios.items():
        print(f"{name:40s} {value:10.2f}")
    print(f"features take {stored / whole:.1%} of the corpus")
    result = {
        "question": "clips per second of extract against decoding and the networks alone; steps per second of heads on "
        "features against training with the networks",
        "corpus": f"{corpus.name}, {clips} clips; voice_small and face_small, one thread",
        "median": {name: round(median(values), 1) for name, values in rates.items()},
        "runs": {name: [round(v, 1) for v in values] for name, values in rates.items()},
        "ratios_median": ratios,
        "bytes_of_features_over_corpus": round(stored / whole, 4),
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "extract.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
