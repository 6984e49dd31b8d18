"""How long should the papers' trainings take on a GPU? Computed from the operations of a step; nothing is timed on one.

    python -m benchmarks.training.paper_hours            counts; writes results/paper_hours.json and the page
    python -m benchmarks.training.paper_hours --table    hours and docs/paper-weights.md from that file
    python -m benchmarks.training.paper_hours --recipes trinet,kim    tries some; writes nothing

For every recipe at paper size: the floating-point operations and the operators of one training step, forward and
backward, and the operations of embedding its validation and test people. An hour is one of a GPU that does `SHARE` of
its data sheet's peak, and no step is shorter than its operators at `LAUNCH` each: in small batches that is what takes
the time. `python -m benchmarks.training.gpu` measures what is assumed here.

Matrix products and convolutions are counted and not carried out, so that it takes minutes on one core; all else of a
step runs. What is measured is the processor time in which one process reads and decodes a step's clips, from a corpus
of the papers' clip sizes; over the expected time of a step that is the number of cores that keep the GPU busy, and over
`CORES` the time that a step takes where decoding holds it up.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import RESULTS, ROOT, describe, parser, table
from benchmarks.data.media import SECONDS, make_corpus
from benchmarks.training.gpu import PEAKS, distinct
from benchmarks.training.steps import Flops, Mode, Recipe, quiet
from voiceface.data.prepare.voxceleb.report import BYTES
from voiceface.data.prepare.voxceleb.report import SECONDS as OF_ONE
from voiceface.methods.recipes import list_recipes, load_recipe
from voiceface.training.fit import keep_memory
from voiceface.utils.files import write_atomic

RESULT = RESULTS / "paper_hours.json"
PAGE = ROOT / "docs" / "paper-weights.md"
SHARE = 0.3  # of the peak; assumed
CORES = 16  # that decode for one GPU; assumed
LAUNCH = 20e-6  # seconds of the processor to give one operator to the GPU; assumed
GPUS = {"H100": "H100 80GB HBM3", "A100": "A100"}
PRECISIONS = ("TF32", "bf16")  # in the order of PEAKS
RATES = {f"{g} {p}": SHARE * PEAKS[full][i] for g, full in GPUS.items() for i, p in enumerate(PRECISIONS)}
COUNT = Mode("count", "32-true", check=False)
BASELINES = {"infonce"}  # of no paper
CLIPS = 4  # embedded to count the operations of one
_aten = torch.ops.aten
PRODUCTS = {
    _aten.convolution.default,
    _aten.convolution_backward.default,
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
}
# VoxCeleb1 has 153,516 utterances of 1,251 people, 573,283 VGGFace pictures of them; its utterances last about 8 s, and
# its crops are one a second.
UTTERANCES, PICTURES, CROPS = 153_516 / 1251, 573_283 / 1251, 8


class Split(NamedTuple):
    """Clips of a split: utterances and pictures."""

    voices: int
    faces: int


def paper_recipes() -> list[str]:
    """Recipes of papers."""
    return [name for name in list_recipes() if name not in BASELINES]


def crops(voices: int) -> Split:
    return Split(voices, CROPS * voices)


def people(number: int, crops: bool, pictures: bool) -> Split:
    """So many average people of VoxCeleb1, with its crops, with VGGFace1's pictures, or both."""
    voices = number * UTTERANCES
    return Split(round(voices), round(voices * CROPS * crops + number * PICTURES * pictures))


# Train, validation and test; what is not published is computed from what is.
CORPORA = {
    "pins, drl": (crops(105_600), crops(12_734), crops(30_496)),  # the published numbers of face tracks
    "svhf": tuple(people(number, True, True) for number in (924, 112, 189)),
    "dimnet": tuple(people(number, False, True) for number in (924, 112, 189)),
    "kim": tuple(people(number, True, False) for number in (951, 50, 250)),
    # 118 people of VoxCeleb2's test with as many pictures as its training people have on average.
    "trinet": (Split(1_092_009, 1_905_016), Split(36_237, round(118 * 1_905_016 / 5994)), Split(153_516, 573_283)),
}
DETECTORS = {"dimnet": "webrtc"}  # of speech


class Uncalculated(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Products and convolutions give zeros of the right shape, at no cost; operators that are no views are counted."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += not func.is_view
        if func not in PRODUCTS:
            return func(*args, **(kwargs or {}))
        there = tree_map_only(torch.Tensor, lambda x: x.to("meta"), (args, kwargs or {}))
        shapes = func(*there[0], **there[1])
        return tree_map_only(torch.Tensor, lambda x: torch.zeros(x.shape, dtype=x.dtype), shapes)


class Step(Flops):
    """Count a step's operators too, without the optimiser's, which are few on a GPU."""

    def __init__(self, mode: Uncalculated) -> None:
        self.mode = mode

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_batch_start(*args, **kwargs)
        self.before = self.mode.operators

    def on_before_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.operators = self.mode.operators - self.before


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    with Uncalculated(), FlopCounterMode(display=False) as counter:
        yield counter


def count_step(recipe: Recipe, steps: int) -> dict[str, Any]:
    """Operations of one step of so many."""
    with Uncalculated() as mode:
        step = Step(mode)
        recipe.fit(COUNT, recipe.memory, step, 1)
    return {"steps": steps, **step.clips, "teraflop": step.flops / 1e12, "operators": step.operators}


def count_phases(recipe: Recipe) -> list[dict[str, Any]]:
    """Steps of each kind: Kim's second half takes more triplets than its first."""
    hard = getattr(recipe.built, "hard_after", None)
    if hard is None:
        return [count_step(recipe, recipe.max_steps)]
    first = count_step(recipe, hard)
    recipe.built.hard_after = 0  # type: ignore[assignment]
    return [first, count_step(recipe, recipe.max_steps - hard)]


@torch.no_grad()
def count_clip(recipe: Recipe) -> dict[str, float]:
    """1e12 operations of embedding one whole voice and one face in evaluation."""
    method, size = recipe.built.eval(), int(recipe.built.face_encoder.size)
    samples = round(SECONDS * 16_000)
    voices = torch.randint(-9000, 9000, (CLIPS, samples), dtype=torch.int16)
    with counted() as voice:
        method.embed_voice(voices, torch.full((CLIPS,), samples))
    with counted() as face:
        method.embed_face(torch.randint(0, 256, (CLIPS, 3, size, size), dtype=torch.uint8))
    return {"voice": voice.get_total_flops() / CLIPS / 1e12, "face": face.get_total_flops() / CLIPS / 1e12}


def decoding(recipe: Recipe, seconds: float) -> float:
    """Seconds of one core to read and decode the clips of a step, measured for so long, in whole epochs."""
    start, taken = time.process_time(), 0
    while time.process_time() - start < seconds:
        taken += sum(1 for _ in recipe.data.train_dataloader())
    passed = time.process_time() - start
    recipe.data.teardown("fit")
    return passed / taken


def expected(name: str, row: dict[str, Any]) -> None:
    """Add what follows from a recipe's counts under the assumptions."""
    phases, work = row["phases"], evaluation(name, row["teraflop_of"])
    steps = sum(phase["steps"] for phase in phases)

    def hours(rate: float) -> float:
        return sum(p["steps"] * max(p["teraflop"] / rate, p["operators"] * LAUNCH) for p in phases) / 3600

    row["evaluation"] = work
    row["launch_hours"] = sum(p["steps"] * p["operators"] for p in phases) * LAUNCH / 3600
    row["hours"] = {on: hours(rate) for on, rate in RATES.items()}
    row["evaluation_hours"] = {on: work["teraflop"] / rate / 3600 for on, rate in RATES.items() if work}
    row["decoding_hours"] = steps * row["decoding_milliseconds"] / 1000 / CORES / 3600
    row["cores"] = row["decoding_milliseconds"] / 1000 / (3600 * row["hours"]["H100 bf16"] / steps)


def evaluation(recipe: str, each: dict[str, float]) -> dict[str, Any]:
    """Clips that validation and the test at the end embed; nothing where the corpus's size is not known."""
    method = recipe.split("_")[0]
    corpus = CORPORA.get("pins, drl" if method in ("pins", "drl") else method)
    if corpus is None:
        return {}
    trainer = load_recipe(recipe, "paper")["trainer"]
    times = int(trainer["max_steps"]) // int(trainer["val_check_interval"])
    voices, faces = (times * val + test for val, test in zip(corpus[1], corpus[2], strict=True))
    work = voices * each["voice"] + faces * each["face"]
    return {"validations": times, "voices": voices, "faces": faces, "teraflop": work}


def tables(result: dict[str, Any]) -> str:
    """The page's tables, between its markers."""
    header = (
        "| recipe, and those that take as long | steps | TFLOP, operators a step | H100 bf16 | H100 TF32 | A100 bf16 | "
        f"A100 TF32 | decoding on {CORES} cores | validation and test, H100 bf16 | cores per H100, bf16 |"
    )
    rows = []
    for name, row in result["recipes"].items():
        tested = row["evaluation_hours"].get("H100 bf16")
        cells = [
            ", ".join(f"`{n}`" for n in (name, *row["same"])),
            " + ".join(f"{p['steps']:,}" for p in row["phases"]),
            "; ".join(f"{p['teraflop']:.2f}, {p['operators']:,}" for p in row["phases"]),
            *(f"{row['hours'][f'{g} {p}']:.2f}" for g in GPUS for p in reversed(PRECISIONS)),
            f"{row['decoding_hours']:.2f}",
            "-" if tested is None else f"{tested:.2f}",
            f"{row['cores']:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    corpora = []
    for name, splits in CORPORA.items():
        voices, faces = sum(split.voices for split in splits), sum(split.faces for split in splits)
        size = (voices * BYTES["voice"] + faces * BYTES["face"]) / 1e9
        heard = OF_ONE["voice"] + (OF_ONE[DETECTORS[name]] if name in DETECTORS else 0.0)
        hours = (voices * heard + faces * OF_ONE["detect"]) / 3600
        corpora.append(f"| {name} | {voices:,} | {faces:,} | {size:.0f} | {hours:.1f} |")
    sizes = table("| corpus | voices | faces | GB | prepare, hours of one core |", corpora)
    return f"{table(header, rows)}\n\n{sizes}"


def with_tables(page: str, result: dict[str, Any]) -> str:
    """The page with its tables anew."""
    first, rest = page.split("<!-- hours: ", 1)
    mark, rest = rest.split("\n", 1)
    return f"{first}<!-- hours: {mark}\n{tables(result)}\n<!-- /hours -->{rest.split('<!-- /hours -->', 1)[1]}"


def measure(seconds: float, recipes: list[str]) -> dict[str, Any]:
    """Everything that the result file holds."""
    quiet()
    keep_memory()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder) / "corpus", 512, 1)
        for name, same in distinct(recipes).items():
            recipe = Recipe(name, corpus, "cpu", False, 0)
            rows[name] = {"same": same, "phases": count_phases(recipe), "teraflop_of": count_clip(recipe)}
            rows[name]["decoding_milliseconds"] = 1000 * decoding(recipe, seconds)
            print(f"{name}: {rows[name]}", flush=True)
    assumed = {"share_of_peak": SHARE, "seconds_per_operator": LAUNCH, "decoding_cores": CORES}
    peaks = {on: rate / SHARE for on, rate in RATES.items()}
    return {"assumed": assumed, "peak_teraflop_per_second": peaks, "recipes": rows, "machine": describe()}


def main() -> None:
    made = parser(__doc__, table=False, seconds=4.0, recipes=str)
    options = made.parse_args()
    recipes = options.recipes.split(",") if options.recipes else paper_recipes()
    result = json.loads(RESULT.read_text()) if options.table else measure(options.seconds, recipes)
    for name, row in result["recipes"].items():
        expected(name, row)
    print(tables(result))
    if not options.recipes:
        write_atomic(RESULT, json.dumps(result, indent=1).encode() + b"\n")
        write_atomic(PAGE, with_tables(PAGE.read_text(), result).encode())


if __name__ == "__main__":
    main()
