"""`voiceface prepare voxceleb`: from the official downloads of VoxCeleb and VGGFace to a corpus."""

from dataclasses import asdict
from pathlib import Path

from voiceface.data.prepare.engine.build import LOCAL, Bundling, CorpusOptions, Engine, Summary, build
from voiceface.data.prepare.engine.output_folder import check_out
from voiceface.data.prepare.sources.walk import check_outside
from voiceface.data.prepare.voxceleb.plan import Plan, VoxCelebOptions, VoxJob, make_vox_person, people_of, plan
from voiceface.data.prepare.voxceleb.splits import NAMED
from voiceface.utils.errors import UserError

__all__ = [
    "Plan",
    "VoxCelebOptions",
    "VoxJob",
    "check_before",
    "make_vox_person",
    "people_of",
    "plan",
    "prepare_voxceleb",
]


def check_before(out: Path, options: VoxCelebOptions, bundle: Bundling) -> None:
    """Refuse what cannot come to an end, before a walk through millions of files.

    Raises:
        UserError: `out` lies within the raw material or is taken, or no video can be kept together.
    """
    for name, place in options.trees().items():
        check_outside(place, out, f"--{name} ")
    if bundle == "video" and options.faces1 is None:
        raise UserError("--bundle video: only VoxCeleb1's crops say which video a face is from; give --faces1")
    check_out(out)


def prepare_voxceleb(
    out: Path,
    options: VoxCelebOptions,
    workers: int | None = None,
    bundle: Bundling = "random",
    found: Plan | None = None,
    engine: Engine = LOCAL,
) -> Summary:
    """Make a corpus of VoxCeleb.

    Args:
        out: Folder of the corpus.
        options: What is on disk, the split, and how files are read.
        workers: Processes; default one per core.
        bundle: `video` keeps the clips of one video together, see `CorpusOptions`.
        found: The plan, if it was made before.
        engine: Where the files are read, see `voiceface.data.prepare.engine.build.build`.

    Returns:
        Counts per split, and rejects by reason.

    Raises:
        UserError: As `plan` and `voiceface.data.prepare.engine.build.build`.
    """
    check_before(out, options, bundle)
    found = found or plan(options)
    split = options.split if options.split in NAMED else Path(options.split).stem
    datasets = "+".join(f"voxceleb{dataset}" for dataset in options.datasets())
    name, face = options.name or f"{datasets}-{split}", options.reading.face
    corpus = CorpusOptions(name, options.licence, face.size, face.margin, seed=options.seed, bundle=bundle)
    made_by = {
        "command": "prepare voxceleb",
        "split": split,
        "trees": list(options.trees()),
        "seed": options.seed,
        "validation": options.validation,
        "reading": asdict(options.reading),
    }
    return build(out, found.jobs, make_vox_person, found.identities, corpus, made_by, found.rejects, workers, engine)
