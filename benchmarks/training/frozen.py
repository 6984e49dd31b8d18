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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.common import Runs, answer, ratio, seconds, summary
from benchmarks.training.steps import Ends, bare_trainer, quiet
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
from voiceface.training.fit import keep_memory

VOICE = "voice_thin_resnet34"
SMALL, PAPER = "face_small", "face_lresnet50_ir"


def steps_per_second(method: TriNet, data: VoxVGGDataModule, first: int, steps: int) -> float:
    """Train for some steps after the first ones, in which workers start."""
    ends = Ends()
    bare_trainer(ends, max_steps=first + steps).fit(method, datamodule=data)
    return 1 / ends.per_step(first)[0]


def demo(root: str, encoders: str, steps: int, workers: int) -> float:
    """Steps per second of TriNet's demo preset."""
    settings = load_recipe("trinet", "demo", encoders)
    arguments = {name: value for name, value in settings["model"].items() if name != "class_path"}
    about = Corpus(root).description.get("features") or {}
    for kind in ("face", "voice") if about else ():
        arguments[f"{kind}_options"] = {n: about[f"{kind}s"][n] for n in ("dim", "encoder", "weights")}
    data = VoxVGGDataModule(root, **{**settings["data"], "workers": workers})
    return steps_per_second(TriNet(**arguments), data, 10, steps)


@torch.inference_mode()
def bare(corpus: Corpus, frozen: Frozen) -> None:
    """Decoding and the networks alone."""
    clips = [(member.name[0], data) for split in SPLITS for _, member, data in corpus.clips(split)]
    for data in (data for kind, data in clips if kind == "v"):
        frozen.voice(torch.from_numpy(cut_voice(data, None, None))[None])
    pictures = [data for kind, data in clips if kind == "f"]
    box = corpus.face_size, corpus.face_margin, frozen.face.size, frozen.face.margin
    for first in range(0, len(pictures), 64):
        faces = np.stack([cut_face(data, *box) for data in pictures[first : first + 64]])
        frozen.face(torch.from_numpy(faces).permute(0, 3, 1, 2).contiguous())


def extract(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    root = options.data or builtin_corpus()
    corpus = Corpus(root)
    splits = corpus.description["splits"]
    clips: int = sum(splits[split][kind] for split in SPLITS for kind in ("voices", "faces"))
    files = {kind: folder / f"{kind}.safetensors" for kind in ("voice", "face")}
    save_file(voice_encoder("voice_small").state_dict(), files["voice"])
    save_file(face_encoder("face_small").state_dict(), files["face"])
    frozen = of_weights("voice_small", "face_small", files["voice"], files["face"])
    names = ("bare, clips/s", "extract, clips/s", "full demo training, steps/s", "heads on features, steps/s")
    found: Runs = {name: [] for name in names}
    for repeat in range(options.repeats):
        out = folder / f"features{repeat}"
        measured = (
            clips / seconds(lambda: bare(corpus, frozen)),
            clips / seconds(lambda out=out: extract_features(out, corpus, frozen, workers=0)),
            demo(root, "paper", 40, 1),
            demo(str(out), "features", 300, 1),
        )
        for name, value in zip(names, measured, strict=True):
            found[name].append(value)
    plain, extracted, full, heads = found.values()
    stored = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    whole = sum(shard["bytes"] for split in SPLITS for shard in splits[split]["shards"])
    return {
        "corpus": f"{corpus.name}, {clips} clips; voice_small and face_small, one thread",
        **summary("rates", found),
        "ratios_median": {"extract / bare": ratio(extracted, plain, 2), "heads / full training": ratio(heads, full, 2)},
        "bytes_of_features_over_corpus": round(stored / whole, 4),
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
    found: Runs = {}
    turns = [(SMALL, "uncached", options.steps), (SMALL, "cached", 10 * options.steps)] * options.repeats
    turns += [(PAPER, side, options.paper_steps) for side in ("uncached", "cached") if options.paper_steps]
    for face, side, steps in turns:
        found.setdefault(f"{face}, {side}", []).append(train(face, side, steps))
    faces = dict.fromkeys(face for face, _, _ in turns)
    return {
        "setting": f"{VOICE} frozen; 4 people x 4 voices x 8 faces, 2.5 s; one thread, one worker",
        "target": 2,
        "ratios_median": {face: ratio(found[f"{face}, cached"], found[f"{face}, uncached"], 2) for face in faces},
        **summary("steps_per_second", found, 4),
        "making_the_cache": [line for line in said.getvalue().splitlines() if line.endswith("per second)")],
    }


if __name__ == "__main__":
    quiet()
    torch.set_num_threads(1)
    answer(__doc__, {"extract": extract, "cached": cached}, data=str, repeats=3, steps=2, paper_steps=1)
