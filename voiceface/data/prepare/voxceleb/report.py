"""What a plan says: what is there and what is missing, how large the corpus will be, how long it will take."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from voiceface.data.corpus.shards import SPLITS
from voiceface.data.prepare.sources.people import Reading
from voiceface.data.prepare.voxceleb.plan import Plan, There, VoxCelebOptions
from voiceface.data.prepare.voxceleb.splits import PUBLISHED
from voiceface.utils.files import csv_bytes, write_for_user

# Seconds of one core for one item: results of benchmarks/data/prepare.py, of `speech` (voices of 8 s) and `detector`
# (pictures of 224 px; detection takes longer in larger ones).
SECONDS = {"voice": 0.009, "silero": 0.008, "webrtc": 0.0012, "asis": 0.0009, "detect": 0.020}
# Bytes of one item in a corpus: 8 s of speech as FLAC, half of the raw 256 kB; a portrait of 224 x 224 px as JPEG.
BYTES = {"voice": 130_000, "face": 15_000}
UTTERANCES = {1: 153_516, 2: 1_128_246}  # of the whole data sets: dev 148,642 + test 4,874; 1,092,009 + 36,237
WORST = 10
CORES = (1, 16, 256)


def estimate(voices: int, faces: int, reading: Reading) -> tuple[float, float]:
    """The expected size of a corpus and the work of making it.

    Args:
        voices: Number of utterances.
        faces: Number of pictures.
        reading: How they are read.

    Returns:
        Bytes, and seconds of one core.
    """
    voice = SECONDS["voice"] + SECONDS.get(reading.voice.vad, 0.0)
    size = voices * BYTES["voice"] + faces * BYTES["face"] * (reading.face.size / 224) ** 2
    return size, voices * voice + faces * SECONDS[reading.face.faces]


def print_plan(found: Plan, options: VoxCelebOptions, out: Path) -> None:
    """Print what would be done, and what is missing."""
    console = Console(width=None if Console().is_terminal else 160)
    table = Table("split", box=None, pad_edge=False)
    for name in ("identities", "published", "voices", "faces"):
        table.add_column(name, justify="right")
    there = {row.identity: row for row in found.there}
    published = PUBLISHED.get(options.split, {})
    voices = faces = 0
    for split in SPLITS:
        rows = [there[job.identity] for job in found.jobs if job.split == split]
        heard, seen = sum(row.voices for row in rows), sum(row.faces for row in rows)
        voices, faces = voices + heard, faces + seen
        table.add_row(
            split, f"{len(rows):,}", f"{published[split]:,}" if split in published else "-", f"{heard:,}", f"{seen:,}"
        )
    print(f"{out}: would be made from {', '.join(f'--{name} {place}' for name, place in options.trees().items())}")
    console.print(table)
    people = Counter(job.split for job in found.jobs)
    few = [split for split in SPLITS if people[split] < 2]
    if few:
        print(f"`voiceface fit` needs two people or more in each split; {' and '.join(few)} has fewer (--validation N)")
    for dataset in options.datasets():
        _print_missing(console, dataset, [row for row in found.there if row.dataset == dataset])
    reasons = Counter(reject.reason for reject in found.rejects)
    if reasons:
        print("left out unread:")
        for reason, number in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:20]:
            print(f"  {number:9,}  {reason}")
    size, seconds = estimate(voices, faces, options.reading)
    times = ", ".join(f"{_hours(seconds / cores)} on {cores} core{'s' * (cores > 1)}" for cores in CORES)
    print(f"expected: {_bytes(size)}, twice that while it is made; {times}")
    print("nothing was prepared (--dry-run)")


def write_missing(path: Path, found: Plan) -> None:
    """Write one row per person of the metadata: identity, dataset, split, voices, faces, missing."""
    columns = ("identity", "dataset", "split", "voices", "faces", "missing")
    rows = ([r.identity, f"voxceleb{r.dataset}", r.split, r.voices, r.faces, r.missing] for r in found.there)
    write_for_user(path, csv_bytes(columns, rows))


def _print_missing(console: Console, dataset: int, rows: list[There]) -> None:
    heard = sum(row.voices for row in rows)
    counts = Counter(row.missing for row in rows)
    print(
        f"VoxCeleb{dataset}: {heard:,} of {UTTERANCES[dataset]:,} voices; of {len(rows):,} people {counts['voices']:,} "
        f"have no voices, {counts['faces']:,} no faces, {counts['voices and faces']:,} neither"
    )
    worst = sorted(rows, key=lambda row: (not row.missing, row.voices + row.faces, row.identity))[:WORST]
    table = Table("fewest", "split", box=None, pad_edge=False)
    for name in ("voices", "faces"):
        table.add_column(name, justify="right")
    for row in worst:
        table.add_row(row.identity, row.split or "-", f"{row.voices:,}", f"{row.faces:,}")
    console.print(table)


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"
