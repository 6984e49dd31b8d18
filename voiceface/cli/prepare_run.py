"""`voiceface prepare`: its work, one function per kind, and the summary at the end."""

from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from voiceface.cli.common import print_splits
from voiceface.data.prepare.engine.build import Engine, Summary
from voiceface.data.prepare.sources.people import Reading
from voiceface.utils.errors import UserError


def run_prepare(options: Namespace) -> int:
    """Prepare a corpus and print what was kept and what was left out."""
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: give 1 or more")
    kinds = {"synthetic": _synthetic, "folder": _people, "videos": _people, "voxceleb": _voxceleb}
    summary = kinds[options.kind](options)
    if summary is not None:
        _print_summary(Path(options.out), summary)
    return 0


PACKAGES = {("vad", "silero"): "silero_vad", ("vad", "webrtc"): "webrtcvad", ("faces", "detect"): "mtcnn"}


def reading(options: Namespace) -> Reading:
    """How files are read, by the words of `voiceface.cli.prepare.add_reading`.

    Raises:
        UserError: A detector's package is not installed: said here, before a walk through millions of files. A dry run
            needs none.
    """
    for (option, value), package in PACKAGES.items():
        if getattr(options, option) == value and find_spec(package) is None and not getattr(options, "dry_run", False):
            raise UserError(f"--{option} {value}: needs the extra `prepare`: pip install 'voiceface[prepare]'")
    from voiceface.data.prepare.media.faces import FaceOptions
    from voiceface.data.prepare.media.speech import VoiceOptions

    return Reading(
        VoiceOptions(options.minimum_seconds, options.maximum_seconds, options.vad),
        FaceOptions(
            options.faces,
            options.face_size,
            options.margin,
            options.minimum_face,
            options.which,
            tuple(options.thresholds),
            options.device,
        ),
    )


def _engine(options: Namespace) -> Engine:
    return Engine(options.engine, options.address)


def _synthetic(options: Namespace) -> Summary:
    from voiceface.data.prepare.synthetic import prepare_synthetic
    from voiceface.data.synthetic import SyntheticOptions

    made = SyntheticOptions(options.identities, options.voices, options.faces, options.seed, options.strength)
    return prepare_synthetic(Path(options.out), made, options.workers, options.bundle, _engine(options))


def _people(options: Namespace) -> Summary:
    from voiceface.data.prepare.folder import FolderOptions
    from voiceface.data.prepare.people import prepare_people
    from voiceface.data.prepare.videos import VideosOptions

    out = Path(options.out)
    shared: dict[str, Any] = {"name": options.name or out.name, "licence": options.licence, "seed": options.seed}
    shared["reading"] = reading(options)
    wanted = FolderOptions(**shared) if options.kind == "folder" else VideosOptions(**shared, fps=options.fps)
    return prepare_people(
        Path(options.source),
        out,
        wanted,
        options.workers,
        options.bundle,
        options.limit,
        options.only_identities,
        _engine(options),
    )


def _voxceleb(options: Namespace) -> Summary | None:
    from voiceface.data.prepare.voxceleb import VoxCelebOptions, check_before, plan, prepare_voxceleb
    from voiceface.data.prepare.voxceleb.folders import LAYOUTS
    from voiceface.data.prepare.voxceleb.report import print_plan, write_missing

    if options.margin is None:
        if options.faces == "asis":
            raise UserError("--margin is missing: --faces asis needs how many times the face box the pictures show")
        options.margin = 1.0
    places = (*LAYOUTS, "meta1", "meta2", "split_file")
    wanted = VoxCelebOptions(
        options.split,
        **{name: Path(value) for name in places if (value := getattr(options, name)) is not None},
        seed=options.seed,
        validation=options.validation,
        reading=reading(options),
        limit=options.limit,
        only=options.only_identities,
        name=options.name or "",
        licence=options.licence,
    )
    check_before(Path(options.out), wanted, options.bundle)
    found = plan(wanted)
    if options.missing is not None:
        write_missing(Path(options.missing), found)
    if options.dry_run:
        print_plan(found, wanted, Path(options.out))
        return None
    return prepare_voxceleb(Path(options.out), wanted, options.workers, options.bundle, found, _engine(options))


def _print_summary(out: Path, summary: Summary) -> None:
    print(f"{out}: " + ("already prepared by this command" if summary.already_there else "prepared"))
    print_splits(summary.splits)
    if summary.rejects:
        print(f"left out: {sum(summary.rejects.values())} inputs, listed in {out / 'rejects.csv'}")
        for reason, count in sorted(summary.rejects.items(), key=lambda item: (-item[1], item[0]))[:20]:
            print(f"  {count:6,}  {reason}")
    if summary.notes:
        print(f"kept, but strange: {summary.notes} inputs, listed in {out / 'notes.csv'}")
