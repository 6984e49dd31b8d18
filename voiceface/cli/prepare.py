"""`voiceface prepare`: its arguments, one function per kind; imports nothing heavy."""

import argparse
from argparse import Namespace
from typing import Any

from voiceface.cli.parser import Parser, add_command, add_path, non_empty
from voiceface.utils.errors import UserError


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `prepare` and its kinds to the front door."""
    prepare = add_command(
        commands, "prepare", "turn raw material into a corpus", "voiceface prepare folder PEOPLE CORPUS"
    )
    kinds = prepare.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=Parser)
    _add_synthetic(kinds)
    _add_folder(kinds)
    _add_videos(kinds)
    _add_voxceleb(kinds)


def _add_synthetic(kinds: "argparse._SubParsersAction[Parser]") -> None:
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


def _add_folder(kinds: "argparse._SubParsersAction[Parser]") -> None:
    folder = add_command(
        kinds,
        "folder",
        "collect voices and faces that lie in one folder per person, or are listed in a CSV",
        "voiceface prepare folder PEOPLE CORPUS --faces asis",
    )
    folder.add_argument(
        "source",
        type=non_empty,
        metavar="SRC",
        help="folder of IDENTITY/{voice,face}/* with an optional identities.csv, or a CSV with identity, path, kind",
    )
    add_reading(folder, faces="asis", vad="none")
    add_choosing(folder)
    add_naming(folder)
    _add_building(folder)


def _add_videos(kinds: "argparse._SubParsersAction[Parser]") -> None:
    videos = add_command(
        kinds,
        "videos",
        "cut the speech and the faces out of talking-head videos, one folder per person, or listed in a CSV",
        "voiceface prepare videos VIDEOS CORPUS --bundle video",
    )
    videos.add_argument(
        "source",
        type=non_empty,
        metavar="SRC",
        help="folder of IDENTITY/*.mp4 or IDENTITY/VIDEO/*.mp4 with an optional identities.csv, or a CSV with identity,"
        " path and, if you like, video, split and attributes",
    )
    videos.add_argument("--fps", type=float, default=1.0, help="frames per second that are looked at (default: 1)")
    add_reading(videos, faces="detect", vad="silero")
    add_choosing(videos)
    add_naming(videos)
    _add_building(videos)


def _add_voxceleb(kinds: "argparse._SubParsersAction[Parser]") -> None:
    voxceleb = add_command(
        kinds,
        "voxceleb",
        "join the official downloads of VoxCeleb1, VoxCeleb2, VGGFace1 and VGGFace2",
        "examples:\n"
        "  voiceface prepare voxceleb --voxceleb1 VOX1 --faces1 unzippedFaces --split pins --dry-run CORPUS\n"
        "  voiceface prepare voxceleb --voxceleb1 VOX1 --vggface1 VGGFACE1 --voxceleb2 VOX2 --vggface2 VGGFACE2 "
        "--split trinet CORPUS",
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
    add_reading(voxceleb, faces="detect", vad="none")
    voxceleb.set_defaults(margin=None)
    add_choosing(voxceleb)
    add_naming(voxceleb, name="data sets and split, such as voxceleb1-pins")
    _add_building(voxceleb)


class _Once(argparse.Action):
    """A folder that is given once: argparse alone would forget the first of two without a word."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Keep the value."""
        if getattr(namespace, self.dest) is not None:
            raise UserError(f"{option_string}: given twice; give one folder above both")
        setattr(namespace, self.dest, values)


def add_reading(kind: Parser, faces: str, vad: str) -> None:
    """The options of `voiceface.data.prepare.sources.people.Reading`, with a kind's own defaults."""
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


def add_choosing(kind: Parser) -> None:
    """Which of the people are prepared."""
    kind.add_argument("--limit", type=int, metavar="N", help="so many people at most, from all splits")
    kind.add_argument("--only-identities", default="", metavar="A,B", help="these people; or a file that lists them")


def add_naming(kind: Parser, name: str = "that of OUT") -> None:
    """Name, licence, and the seed of the split."""
    kind.add_argument("--name", help=f"name of the corpus (default: {name})")
    kind.add_argument("--licence", default="", help="licence of the material, kept in the corpus")
    kind.add_argument("--seed", type=int, default=0, help="seed of the split")


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
        "--address", default="auto", type=non_empty, help="of the Ray cluster (default: that of this machine)"
    )
    kind.add_argument(
        "--bundle",
        default="random",
        choices=["random", "video"],
        help="video: keep the clips of one video together, for --data.same_video (default: random)",
    )


def run_prepare(options: Namespace) -> int:
    """See `voiceface.cli.prepare_run`."""
    from voiceface.cli.prepare_run import run_prepare

    return run_prepare(options)
