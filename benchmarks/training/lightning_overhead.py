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
from contextlib import redirect_stderr
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # the other core reads data

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.common import RESULTS, parser, write
from benchmarks.training.steps import Ends, Memory, quiet
from voiceface.data.module import VoxVGGDataModule
from voiceface.methods.base import Method
from voiceface.training.arguments import RunChoice, expand
from voiceface.training.fit import FitCLI, keep_memory
from voiceface.training.run_folder import release

REPEATS, FIRST = 5, 10
Moment = tuple[float, float]  # by the clock, by the processor's
MODELS = {
    "tiny": ["--model", "benchmarks.training.lightning_overhead.Tiny", "--preset", "demo", "--data.people", "4"],
    "trinet demo": ["--model", "trinet", "--preset", "demo", "--data.people", "12"],
}
OPTIONS = ["--trainer.limit_val_batches", "0", "--trainer.enable_progress_bar", "false"]


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


class TimedFit(FitCLI):
    """`voiceface fit` up to the end of training, timed, on a loader; None: on the stream."""

    def __init__(self, args: list[str], chosen: RunChoice, loader: Memory | None) -> None:
        self.loader, self.ends = loader, Ends()
        super().__init__(args, chosen)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
        return super()._instantiate_trainer(config, [*callbacks, self.ends])

    def before_fit(self) -> None:
        super().before_fit()
        if self.loader is not None:
            self.datamodule.train_dataloader = lambda: self.loader

    def after_fit(self) -> None:
        """Neither test nor save."""


def fit(model: str, steps: int, folder: Path, loader: Memory | None = None) -> TimedFit:
    words, chosen = expand([*MODELS[model], *OPTIONS, "--trainer.max_steps", str(steps), "--out", str(folder)])
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            return TimedFit(words, chosen, loader)
    finally:
        release()


def plain(method: Method, loader: Memory) -> Moment:
    configured: Any = method.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    method.train()
    ends = Ends()
    for batch in loader:
        voices, faces = method.embed_voice(batch["voices"], batch["voice_lengths"]), method.embed_face(batch["faces"])
        loss, _ = method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(configured, dict):
            configured["lr_scheduler"]["scheduler"].step()
        ends.on_train_batch_end()
    return ends.per_step(FIRST)


def memory(datamodule: VoxVGGDataModule, steps: int) -> Memory:
    """A few batches of the stream, with the sizes that the trained networks take."""
    workers, datamodule.workers = datamodule.workers, 0
    batches = list(islice(VoxVGGDataModule.train_dataloader(datamodule), 8))
    datamodule.workers = workers
    return Memory(batches, [], steps)


def overhead(pairs: list[tuple[Moment, Moment]]) -> dict[str, float]:
    """By how much the second of each pair is slower."""
    found = {}
    for place, name in enumerate(("", "processor_")):
        both = [(before[place], after[place]) for before, after in pairs]
        found[f"{name}milliseconds_per_step"] = round(1000 * median(b - a for a, b in both), 3)
        found[f"{name}ratio"] = round(median(b / a for a, b in both), 3)
    return found


def main() -> None:
    options = parser(__doc__, steps=60, repeats=REPEATS, out=RESULTS).parse_args()
    quiet()
    keep_memory()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"milliseconds_per_step_median": {}, "overhead_median": {}, "data_wait_median": {}}
    for model in MODELS:
        times: dict[str, list[Moment]] = {"plain": [], "fit on memory": [], "fit on its stream": []}
        waits = []
        with tempfile.TemporaryDirectory() as place:
            steps = 10 * options.steps if model == "tiny" else options.steps
            first = fit(model, FIRST + 2, Path(place, "first"))
            loader = memory(first.datamodule, steps)
            for repeat in range(options.repeats):
                on_memory = fit(model, steps, Path(place, f"memory {repeat}"), loader)
                on_stream = fit(model, steps, Path(place, f"stream {repeat}"))
                moments = plain(first.model, loader), on_memory.ends.per_step(FIRST), on_stream.ends.per_step(FIRST)
                for found, moment in zip(times.values(), moments, strict=True):
                    found.append(moment)
                waits.append(on_stream.watch.summary(on_stream.trainer, {})["data_wait"])
        for way, values in times.items():
            milliseconds = round(1000 * median(wall for wall, _ in values), 3)
            result["milliseconds_per_step_median"][f"{model}, {way}"] = milliseconds
            if way != "plain":
                pairs = list(zip(times["plain"], values, strict=True))
                result["overhead_median"][f"{model}, {way}"] = overhead(pairs)
        result["data_wait_median"][model] = median(waits)
    write("lightning_overhead", result, options.out)


if __name__ == "__main__":
    main()
