"""What do Lightning, the callbacks of `fit` and the stream cost per step, against a plain loop? All in one run.

The same networks, optimiser and schedule take the same kind of batch: in a plain loop over batches that lie in memory;
in `voiceface fit` itself (`FitCLI`, so with every callback and logger that it has by default) over those batches; and
in `fit` over its stream. The three take turns. A method whose step is nearly nothing shows the overhead undiluted, the
demo TriNet shows its share of a step of about 50 ms. Steps are timed from the end of the tenth to the end of the last;
nothing is validated meanwhile. Processor time of the training process is counted beside the wall time: other work on
the machine disturbs it less. The share of the training time in which `fit` waited for data is its own count.

    python -m benchmarks.training.lightning_overhead [--steps 60]
"""

import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # the other core reads data

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.common import load_average, parser, write
from voiceface.data.module import VoxVGGDataModule
from voiceface.methods.base import Method
from voiceface.training.arguments import RunChoice, expand
from voiceface.training.fit import FitCLI, keep_memory, quiet
from voiceface.training.run_folder import release

REPEATS, FIRST = 5, 10
Moment = tuple[float, float]
PEOPLE = 12
MODELS = {
    "tiny": ["--model", "benchmarks.training.lightning_overhead.Tiny", "--preset", "demo", "--data.people", "4"],
    "trinet demo": ["--model", "trinet", "--preset", "demo", "--data.people", str(PEOPLE)],
}


class Tiny(Method):
    """A method whose step is nearly nothing."""

    def __init__(self) -> None:
        super().__init__("face_small", "voice_small")
        self.face, self.voice = nn.Linear(16, 4), nn.Linear(16, 4)

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.voice(waveforms[:, :16].float())

    def embed_face(self, faces: Tensor) -> Tensor:
        return self.face(faces[:, 0, 0, :16].float())

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (voices.mean() - faces.mean()) ** 2
        return loss, {"loss": loss.detach(), "active": loss.detach()}

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([*self.face.parameters(), *self.voice.parameters()], 1e-6)


class Memory:
    """A loader of batches in memory; a plain list would be taken for a list of loaders."""

    def __init__(self, batches: list[dict[str, Any]], steps: int) -> None:
        self.batches = [batches[step % len(batches)] for step in range(steps)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.batches)


class Clock(pl.Callback):
    """Times the steps after the first ones."""

    def __init__(self) -> None:
        self.ends: list[Moment] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(now())


def now() -> Moment:
    return time.perf_counter(), time.process_time()


def per_step(ends: list[Moment]) -> Moment:
    """Seconds of a step, and seconds of the processor."""
    wall, processor = ((b - a) / (len(ends) - FIRST) for a, b in zip(ends[FIRST - 1], ends[-1], strict=True))
    return wall, processor


class TimedFit(FitCLI):
    """`voiceface fit` up to the end of training, timed, on a loader; None: on the stream."""

    def __init__(self, args: list[str], chosen: RunChoice, loader: Memory | None) -> None:
        self.loader, self.clock = loader, Clock()
        super().__init__(args, chosen)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
        return super()._instantiate_trainer(config, [*callbacks, self.clock])

    def before_fit(self) -> None:
        super().before_fit()
        if self.loader is not None:
            self.datamodule.train_dataloader = lambda: self.loader

    def after_fit(self) -> None:
        """Neither test nor save."""


def fit(model: str, steps: int, folder: Path, loader: Memory | None) -> TimedFit:
    words, chosen = expand(
        [
            *MODELS[model],
            *("--trainer.max_steps", str(steps), "--trainer.limit_val_batches", "0"),
            *("--trainer.enable_progress_bar", "false", "--out", str(folder)),
        ]
    )
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            done = TimedFit(words, chosen, loader)
    finally:
        release()
    if len(done.clock.ends) != steps:
        raise RuntimeError(f"{len(done.clock.ends)} steps instead of {steps}")
    return done


def plain(method: Method, loader: Memory) -> Moment:
    configured = method.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    method.train()
    ends = []
    for batch in loader:
        voices, faces = method.embed_voice(batch["voices"], batch["voice_lengths"]), method.embed_face(batch["faces"])
        loss, _ = method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(configured, dict):
            configured["lr_scheduler"]["scheduler"].step()
        ends.append(now())
    return per_step(ends)


def batches_of(datamodule: VoxVGGDataModule) -> list[dict[str, Any]]:
    """A few batches of the stream, with the sizes that the trained networks take."""
    workers, datamodule.workers = datamodule.workers, 0
    batches = list(islice(VoxVGGDataModule.train_dataloader(datamodule), 8))
    datamodule.workers = workers
    return batches


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=60)
    steps = options.parse_args().steps
    quiet()
    keep_memory()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    ways = ("plain", "fit on memory", "fit on its stream")
    times: dict[str, dict[str, list[Moment]]] = {model: {way: [] for way in ways} for model in MODELS}
    waits: dict[str, list[float]] = {model: [] for model in MODELS}
    callbacks: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        for model in MODELS:
            count = 10 * steps if model == "tiny" else steps
            first = fit(model, FIRST + 2, Path(place, model, "first"), None)
            loader = Memory(batches_of(first.datamodule), count)
            callbacks = [type(c).__name__ for c in first.trainer.callbacks if not isinstance(c, Clock)]
            for repeat in range(REPEATS):
                found = times[model]
                found["plain"].append(plain(first.model, loader))
                for way in ways[1:]:
                    folder = Path(place, model, f"{way} {repeat}")
                    done = fit(model, count, folder, loader if way == "fit on memory" else None)
                    found[way].append(per_step(done.clock.ends))
                waits[model].append(done.watch.summary(done.trainer, {})["data_wait"])
    result: dict[str, Any] = {
        "question": "what Lightning, the callbacks and the stream cost per step against a plain loop",
        "callbacks": callbacks,
        "milliseconds_per_step_median": {},
        "overhead_median": {},
        "data_wait_median": {model: median(values) for model, values in waits.items()},
        "load_average": load_average(),
    }
    for model, found in times.items():
        for way, values in found.items():
            milliseconds = round(1000 * median(wall for wall, _ in values), 3)
            result["milliseconds_per_step_median"][f"{model}, {way}"] = milliseconds
            if way == "plain":
                continue
            pairs = list(zip(found["plain"], values, strict=True))
            result["overhead_median"][f"{model}, {way}"] = {
                "milliseconds_per_step": round(1000 * median(b[0] - a[0] for a, b in pairs), 3),
                "ratio": round(median(b[0] / a[0] for a, b in pairs), 3),
                "processor_milliseconds_per_step": round(1000 * median(b[1] - a[1] for a, b in pairs), 3),
                "processor_ratio": round(median(b[1] / a[1] for a, b in pairs), 3),
            }
    write("lightning_overhead", result)


if __name__ == "__main__":
    main()
