"""How much quicker is training on stored outputs of networks, and what does it cost to store them?

    python -m benchmarks.training.frozen extract [--data CORPUS] [--repeats 3]
    python -m benchmarks.training.frozen cached [--repeats 3] [--steps 2] [--paper-steps 1]

extract: the whole command on every clip of the corpus; `bare` decodes the same clips and passes them through the same
networks in a plain loop in one process, clip after clip for voices, by 64 for faces, and keeps nothing. Then the steps
per second of TriNet's demo preset on the corpus, its networks trained too, and of its heads on the features.

cached: TriNet with cached outputs of its frozen voice network. Both sides train on TriNet's paper batch (4 people x 4
voices x 8 faces, crops of 2.5 s) with the paper's frozen voice network, under a real Trainer and from the real stream;
one has `--cache-frozen`, whose cache is made before and timed by itself. Once with a small face network, which is
trained too, and once with the paper's, whose own cost no cache takes away.

Ratios are within one run, in which the ways take turns. The networks have random weights: speed does not depend on
them. Writes benchmarks/results/QUESTION.json.
"""

import argparse
import contextlib
import io
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors.torch import save_file

from benchmarks.common import answer, load_average, medians, parser, ratio, rounded, seconds
from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.corpus.shards import SPLITS, Corpus
from voiceface.data.features.extract import extract as extract_features
from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.synthetic import prepare_synthetic
from voiceface.data.synthetic import SyntheticOptions
from voiceface.encoders import face_encoder, voice_encoder
from voiceface.encoders.pretrained.frozen import Frozen, of_weights
from voiceface.methods.recipes import load_recipe
from voiceface.methods.trinet import TriNet
from voiceface.training.fit import keep_memory, quiet

VOICE = "voice_thin_resnet34"
SMALL, PAPER = "face_small", "face_lresnet50_ir"


class Clock(pl.Callback):
    """When each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


def steps_per_second(method: TriNet, data: VoxVGGDataModule, first: int, steps: int) -> float:
    """Train for some steps after the first ones, in which workers start."""
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=first + steps,
        callbacks=[clock],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(method, datamodule=data)
    return steps / (clock.ends[-1] - clock.ends[first - 1])


def demo(root: str, encoders: str, steps: int, workers: int) -> float:
    """Steps per second of TriNet's demo preset."""
    settings = load_recipe("trinet", "demo", encoders)
    arguments = {name: value for name, value in settings["model"].items() if name != "class_path"}
    about = Corpus(root).description.get("features")
    for kind in ("face", "voice"):
        if about is not None:
            arguments[f"{kind}_options"] = {n: about[f"{kind}s"][n] for n in ("dim", "encoder", "weights")}
    data = VoxVGGDataModule(root, **{**settings["data"], "workers": workers})
    return steps_per_second(TriNet(**arguments), data, 10, steps)


@torch.inference_mode()
def bare(corpus: Corpus, frozen: Frozen) -> None:
    """Decoding and the networks alone."""
    for split in SPLITS:
        faces: list[torch.Tensor] = []
        for _, member, data in corpus.clips(split):
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


def extract(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    root = options.data or builtin_corpus()
    corpus = Corpus(root)
    splits = corpus.description["splits"]
    clips: int = sum(splits[split][kind] for split in SPLITS for kind in ("voices", "faces"))
    files = {kind: folder / f"{kind}.safetensors" for kind in ("voice", "face")}
    save_file(voice_encoder("voice_small").state_dict(), files["voice"])
    save_file(face_encoder("face_small").state_dict(), files["face"])
    frozen = of_weights("voice_small", "face_small", files["voice"], files["face"])
    rates: dict[str, list[float]] = {}
    for repeat in range(options.repeats):
        out = [folder / f"features{repeat}-{workers}" for workers in (0, 2)]
        measured = {
            "bare, clips/s": clips / seconds(lambda: bare(corpus, frozen)),
            "extract, 0 workers, clips/s": clips
            / seconds(lambda out=out: extract_features(out[0], corpus, frozen, workers=0)),
            "extract, 2 workers, clips/s": clips
            / seconds(lambda out=out: extract_features(out[1], corpus, frozen, workers=2)),
            "full demo training, steps/s": demo(root, "paper", 40, 1),
            "heads on features, 0 workers, steps/s": demo(str(out[0]), "features", 300, 0),
            "heads on features, 1 worker, steps/s": demo(str(out[0]), "features", 300, 1),
        }
        for name, value in measured.items():
            rates.setdefault(name, []).append(value)
    stored = sum(path.stat().st_size for path in out[0].rglob("*") if path.is_file())
    whole = sum(shard["bytes"] for split in SPLITS for shard in splits[split]["shards"])
    plain, alone, helped, full, heads, heads_helped = rates.values()
    return {
        "question": "clips per second of extract against decoding and the networks alone; steps per second of heads on "
        "features against training with the networks",
        "corpus": f"{corpus.name}, {clips} clips; voice_small and face_small, one thread",
        "median": medians(rates),
        "runs": rounded(rates),
        "ratios_median": {
            "extract, 0 workers / bare": ratio(alone, plain, 2),
            "extract, 2 workers / bare": ratio(helped, plain, 2),
            "heads, 0 workers / full demo training": ratio(heads, full, 2),
            "heads, 1 worker / full demo training": ratio(heads_helped, full, 2),
        },
        "bytes_of_features_over_corpus": round(stored / whole, 4),
        "load_average": load_average(),
    }


def cached(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    keep_memory()
    os.environ["VOICEFACE_CACHE"] = f"{folder}/cache"
    root, weights = folder / "corpus", folder / "voice.safetensors"
    prepare_synthetic(root, SyntheticOptions(identities=18, voices=4, faces=8))
    save_file(voice_encoder(VOICE).state_dict(), weights)

    def train(face: str, side: str, steps: int) -> float:
        settings = {**load_recipe("trinet", "paper")["data"], "workers": 1, "cache_frozen": side == "cached"}
        method = TriNet(face, VOICE, voice_weights=str(weights))
        return steps_per_second(method, VoxVGGDataModule(str(root), **settings), 1, steps)

    with contextlib.redirect_stderr(io.StringIO()) as said:
        train(SMALL, "cached", 1)
    made = [line for line in said.getvalue().splitlines() if line.endswith("per second)")]
    rates: dict[str, list[float]] = {}
    turns = [(SMALL, "uncached", options.steps), (SMALL, "cached", 10 * options.steps)] * options.repeats
    if options.paper_steps:
        turns += [(PAPER, side, options.paper_steps) for side in ("uncached", "cached")]
    for face, side, steps in turns:
        rates.setdefault(f"{face}, {side}", []).append(train(face, side, steps))
    faces = [face for face in (SMALL, PAPER) if f"{face}, cached" in rates]
    return {
        "question": "steps per second of TriNet with cached outputs of its frozen voice network against uncached",
        "setting": f"{VOICE} frozen; 4 people x 4 voices x 8 faces, 2.5 s; one thread, one worker",
        "target": 2,
        "ratios_median": {face: ratio(rates[f"{face}, cached"], rates[f"{face}, uncached"], 2) for face in faces},
        "median_steps_per_second": medians(rates, 4),
        "runs_steps_per_second": rounded(rates, 4),
        "making_the_cache": made,
        "load_average": load_average(),
    }


QUESTIONS = {"extract": extract, "cached": cached}


def main() -> None:
    made = parser(__doc__, QUESTIONS)
    made.add_argument("--data", help="corpus of extract; default: the built-in one")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--steps", type=int, default=2, help="measured steps without the cache; ten times as many with")
    made.add_argument("--paper-steps", type=int, default=1, help="the same with the paper's face network; 0: none")
    options = made.parse_args()
    quiet()
    torch.set_num_threads(1)
    answer(options, QUESTIONS)


if __name__ == "__main__":
    main()
