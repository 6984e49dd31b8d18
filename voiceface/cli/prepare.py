"""`voiceface prepare`: one function per kind of material. Imports nothing heavy before the work starts."""

import argparse
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceface.cli.common import print_next, print_splits
from voiceface.cli.parser import Parser, add_command, add_path, non_empty
from voiceface.utils.errors import UserError

if TYPE_CHECKING:
    from voiceface.data.prepare.engine.build import Engine, Summary
    from voiceface.data.prepare.sources.people import Reading

SOURCES = {
    "folder": "folder of IDENTITY/{voice,face}/* with an optional identities.csv, or a CSV with identity, path, kind",
    "videos": "folder of IDENTITY/*.mp4 or IDENTITY/VIDEO/*.mp4 with an optional identities.csv, or a CSV with "
    "identity, path and, if you like, video, split and attributes",
}
VOXCELEB_EXAMPLES = """examples:
  voiceface prepare voxceleb --voxceleb1 VOX1 --faces1 unzippedFaces --split pins --dry-run CORPUS
  voiceface prepare voxceleb --voxceleb1 VOX1 --vggface1 VGGFACE1 --voxceleb2 VOX2 --vggface2 VGGFACE2 --split trinet \
CORPUS"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `prepare` and its kinds to the front door."""
    prepare = add_command(
        commands, "prepare", "turn raw material into a corpus", "voiceface prepare folder PEOPLE CORPUS"
    )
    kinds = prepare.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=Parser)
    synthetic = add_command(
        kinds,
        "synthetic",
        "render a synthetic corpus whose best possible score is known",
        "voiceface prepare synthetic CORPUS --identities 2000",
    )
    synthetic.add_argument("--identities", type=int, default=600, help="people (default: 600)")
    synthetic.add_argument("--voices", type=int, default=4, help="voices per person (default: 4)")
    synthetic.add_argument("--faces", type=int, default=6, help="faces per person (default: 6)")
    synthetic.add_argument("--seed", type=int, default=0)
    synthetic.add_argument(
        "--strength", type=float, default=1.0, help="how well voice and face show what they share (default: 1)"
    )
    _add_building(synthetic)
    folder = add_command(
        kinds,
        "folder",
        "collect voices and faces that lie in one folder per person, or are listed in a CSV",
        "voiceface prepare folder PEOPLE CORPUS --faces asis",
    )
    folder.add_argument("source", type=non_empty, metavar="SRC", help=SOURCES["folder"])
    _add_people(folder, faces="asis", vad="none")
    videos = add_command(
        kinds,
        "videos",
        "cut the speech and the faces out of talking-head videos, one folder per person, or listed in a CSV",
        "voiceface prepare videos VIDEOS CORPUS --bundle video",
    )
    videos.add_argument("source", type=non_empty, metavar="SRC", help=SOURCES["videos"])
    videos.add_argument("--fps", type=float, default=1.0, help="frames per second that are looked at (default: 1)")
    _add_people(videos, faces="detect", vad="silero")
    _add_voxceleb(kinds)


def _add_voxceleb(kinds: "argparse._SubParsersAction[Parser]") -> None:
    voxceleb = add_command(
        kinds,
        "voxceleb",
        "join the official downloads of VoxCeleb1, VoxCeleb2, VGGFace1 and VGGFace2",
        VOXCELEB_EXAMPLES,
    )
    for name, form in (
        ("voxceleb1", "voices, wav/id10001/VIDEO/00001.wav at any depth; as all of these a folder or a listing of it"),
        ("voxceleb2", "voices, dev/aac/id00012/VIDEO/00001.m4a"),
        ("faces1", "VoxCeleb1's crops, unzippedFaces/NAME/1.6/VIDEO/0000025.jpg"),
        ("vggface1", "pictures, NAME/00000001.jpg"),
        ("vggface2", "pictures, train/n000001/0001_01.jpg"),
    ):
        add_path(voxceleb, f"--{name}", "DIR", form, action=_Once)
    for number in (1, 2):
        add_path(voxceleb, f"--meta{number}", "CSV", f"vox{number}_meta.csv (default: in or beside the folders)")
    voxceleb.add_argument(
        "--split",
        required=True,
        type=non_empty,
        help="pins, svhf, trinet, kim, or a CSV with the columns identity, split",
    )
    add_path(voxceleb, "--split-file", "FILE", "identity_splits.txt of pins (default: in or beside the folders)")
    voxceleb.add_argument(
        "--validation", type=int, default=0, metavar="N", help="so many of the training people go to val (default: 0)"
    )
    voxceleb.add_argument("--dry-run", action="store_true", help="print what is there, the size and the time; stop")
    add_path(voxceleb, "--missing", "CSV", "write what is there and what is missing, one row per person")
    _add_people(voxceleb, faces="detect", vad="none", name="data sets and split, such as voxceleb1-pins")
    voxceleb.set_defaults(margin=None)


class _Once(argparse.Action):
    """A folder that is given once: argparse alone would forget the first of two without a word."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
        """Keep the value."""
        if getattr(namespace, self.dest) is not None:
            raise UserError(f"{option_string}: given twice; give one folder above both")
        setattr(namespace, self.dest, values)


def _add_people(kind: Parser, faces: str, vad: str, name: str = "that of OUT") -> None:
    """What all kinds of recordings share: how they are read (`reading`), of which people, and what the corpus is."""
    kind.add_argument(
        "--faces",
        default=faces,
        choices=["asis", "detect"],
        help=f"asis: the pictures are face crops already; detect: find the face in them (default: {faces})",
    )
    kind.add_argument("--face-size", type=int, default=224, help="side of the stored faces, pixels (default: 224)")
    kind.add_argument(
        "--margin",
        type=float,
        default=1.0,
        help="asis: how many times the face box the pictures show; detect: box scale to cut (default: 1)",
    )
    kind.add_argument(
        "--minimum-face", type=int, default=32, metavar="PX", help="smaller faces are left out, pixels (default: 32)"
    )
    kind.add_argument(
        "--which", default="largest", choices=["largest", "central"], help="which of several faces (default: largest)"
    )
    kind.add_argument(
        "--thresholds",
        type=float,
        nargs=3,
        default=[0.6, 0.7, 0.7],
        metavar="T",
        help="confidences of the detector's three stages (default: 0.6 0.7 0.7)",
    )
    kind.add_argument("--device", default="cpu", type=non_empty, help="device of the detector (default: cpu)")
    kind.add_argument(
        "--vad",
        default=vad,
        choices=["none", "silero", "webrtc"],
        help=f"detector of speech: what is none is cut out (default: {vad})",
    )
    kind.add_argument(
        "--minimum-seconds", type=float, default=0.5, metavar="S", help="shorter voices are left out (default: 0.5)"
    )
    kind.add_argument(
        "--maximum-seconds", type=float, default=3600.0, metavar="S", help="longer sounds are refused (default: 3600)"
    )
    kind.add_argument("--limit", type=int, metavar="N", help="so many people at most, from all splits")
    kind.add_argument("--only-identities", default="", metavar="A,B", help="these people; or a file that lists them")
    kind.add_argument("--name", help=f"name of the corpus (default: {name})")
    kind.add_argument("--licence", default="", help="licence of the material, kept in the corpus")
    kind.add_argument("--seed", type=int, default=0, help="seed of the split")
    _add_building(kind)


def _add_building(kind: Parser) -> None:
    """OUT and how the corpus is built."""
    add_path(kind, "out", "OUT", "folder of the corpus")
    kind.add_argument("--workers", type=int, help="processes (default: one per core)")
    kind.add_argument(
        "--engine",
        default="local",
        choices=["local", "ray"],
        help="local: processes of this machine; ray: a Ray cluster whose nodes all see OUT (default: local)",
    )
    kind.add_argument(
        "--address",
        default="auto",
        type=non_empty,
        help="address of the Ray cluster (default: the cluster of this machine)",
    )
    kind.add_argument(
        "--bundle",
        default="random",
        choices=["random", "video"],
        help="video: keep the clips of one video together, for --data.same_video (default: random)",
    )


def run_prepare(options: Namespace) -> int:
    """Prepare a corpus and print what was kept and what was left out."""
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: give 1 or more")
    from voiceface.data.prepare.engine.build import Engine

    kinds = {"synthetic": _synthetic, "folder": _people, "videos": _people, "voxceleb": _voxceleb}
    summary = kinds[options.kind](options, Engine(options.engine, options.address))
    if summary is not None:
        _print_summary(Path(options.out), summary)
    return 0


PACKAGES = {("vad", "silero"): "silero_vad", ("vad", "webrtc"): "webrtcvad", ("faces", "detect"): "mtcnn"}


def reading(options: Namespace) -> "Reading":
    """How files are read, by the words of `_add_people`.

    Raises:
        UserError: A detector's package is not installed: said here, before a walk through millions of files. A dry run
            needs none.
    """
    for (option, value), package in PACKAGES.items():
        if getattr(options, option) == value and find_spec(package) is None and not getattr(options, "dry_run", False):
            raise UserError(f"--{option} {value}: needs the extra `prepare`: pip install 'voiceface[prepare]'")
    from voiceface.data.prepare.media.faces import FaceOptions
    from voiceface.data.prepare.media.speech import VoiceOptions
    from voiceface.data.prepare.sources.people import Reading

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


def _synthetic(options: Namespace, engine: "Engine") -> "Summary":
    from voiceface.data.prepare.synthetic import prepare_synthetic
    from voiceface.data.synthetic import SyntheticOptions

    made = SyntheticOptions(options.identities, options.voices, options.faces, options.seed, options.strength)
    return prepare_synthetic(Path(options.out), made, options.workers, options.bundle, engine)


def _people(options: Namespace, engine: "Engine") -> "Summary":
    """A folder of people, or of their videos."""
    from voiceface.data.prepare.folder import FolderOptions
    from voiceface.data.prepare.people import prepare_people
    from voiceface.data.prepare.videos import VideosOptions

    source, out = Path(options.source), Path(options.out)
    wanted: dict[str, Any] = {"name": options.name or out.name, "licence": options.licence, "seed": options.seed}
    wanted["reading"] = reading(options)
    made = FolderOptions(**wanted) if options.kind == "folder" else VideosOptions(**wanted, fps=options.fps)
    who = options.limit, options.only_identities
    return prepare_people(source, out, made, options.workers, options.bundle, *who, engine)


def _voxceleb(options: Namespace, engine: "Engine") -> "Summary | None":
    from voiceface.data.prepare.voxceleb import VoxCelebOptions, check_before, plan, prepare_voxceleb
    from voiceface.data.prepare.voxceleb.folders import LAYOUTS
    from voiceface.data.prepare.voxceleb.report import print_plan, write_missing

    if options.margin is None:
        if options.faces == "asis":
            raise UserError("--margin is missing: --faces asis needs how many times the face box the pictures show")
        options.margin = 1.0
    out, places = Path(options.out), (*LAYOUTS, "meta1", "meta2", "split_file")
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
    check_before(out, wanted, options.bundle)
    found = plan(wanted)
    if options.missing is not None:
        write_missing(Path(options.missing), found)
    if options.dry_run:
        print_plan(found, wanted, out)
        return None
    return prepare_voxceleb(out, wanted, options.workers, options.bundle, found, engine)


def _print_summary(out: Path, summary: "Summary") -> None:
    print(f"{out}: " + ("already prepared by this command" if summary.already_there else "prepared"))
    print_splits(summary.splits)
    if summary.rejects:
        print(f"left out: {sum(summary.rejects.values())} inputs, listed in {out / 'rejects.csv'}")
        for reason, count in sorted(summary.rejects.items(), key=lambda item: (-item[1], item[0]))[:20]:
            print(f"  {count:6,}  {reason}")
    if summary.notes:
        print(f"kept, but strange: {summary.notes} inputs, listed in {out / 'notes.csv'}")
    print_next(out, summary.splits)
