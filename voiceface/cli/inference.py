"""`voiceface match`, `retrieve` and `index`: their arguments, and those of `embed` that name files."""

import argparse
from argparse import Namespace

from voiceface.cli.parser import Parser, add_command, add_path, non_empty

MATCH = """examples:
  voiceface match trinet-synthetic voice.wav a.jpg b.jpg         which face is the speaker's
  voiceface match trinet-synthetic face.jpg a.wav b.m4a c.mp4    which voice is the face's
  voiceface match CHECKPOINT voice.wav a.png b.png --asis        the pictures are face crops already
  voiceface match CHECKPOINT --csv pairs.csv --out scores.csv    columns voice, face, face2, ...; one match per row

For research on published methods; never to identify or to screen people."""

RETRIEVE = """examples:
  voiceface retrieve trinet-synthetic voice.wav FACES_DIR --top 5
  voiceface index trinet-synthetic FACES_DIR faces.index         once, then:
  voiceface retrieve trinet-synthetic voice.wav --index faces.index
  voiceface retrieve trinet-synthetic voice.wav --index faces.index --exact   though it was made by `index --faiss`

For research on published methods; never to identify or to screen people."""

INDEX = """examples:
  voiceface index trinet-synthetic FACES_DIR faces.index
  voiceface index trinet-synthetic VOICES_DIR voices.index --kind voice --dtype float16
  voiceface index trinet-synthetic FACES_DIR faces.index --faiss    past a million faces: quicker, not exact

For research on published methods; never to identify or to screen people."""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    match = add_command(commands, "match", "which of several faces is a voice's, or the reverse", MATCH)
    retrieve = add_command(commands, "retrieve", "what of a gallery is most like a voice or a face", RETRIEVE)
    index = add_command(commands, "index", "embed a gallery once, to retrieve from it often", INDEX)
    for command in (match, retrieve, index):
        add_path(command, "checkpoint", "CHECKPOINT", "installed checkpoint, checkpoint folder or hf://owner/name")
    add_path(match, "files", "FILE", "one voice, then faces; or one face, then voices", nargs="*")
    add_path(
        match, "--csv", "FILE", "CSV with a match in each row: voice, face, face2, ... or face, voice, voice2, ..."
    )
    add_path(match, "--out", "FILE", "CSV to write: the same with similarity, choice, probability, error")
    add_path(retrieve, "query", "QUERY", "a voice, to find faces; or a face, to find voices")
    add_path(retrieve, "gallery", "GALLERY", "folder that is searched, with those below it", nargs="?")
    add_path(retrieve, "--index", "DIR", "what `voiceface index` wrote, in place of GALLERY")
    retrieve.add_argument("--exact", action="store_true", help="search an index exactly, even if made with --faiss")
    retrieve.add_argument("--top", type=int, default=10, metavar="K", help="how many to show (default: 10)")
    add_path(index, "gallery", "GALLERY", "folder of faces or voices, with those below it")
    add_path(index, "out", "OUT", "folder to make")
    index.add_argument("--kind", default="face", choices=["face", "voice"], help="what is indexed (default: face)")
    index.add_argument(
        "--dtype",
        default="float32",
        choices=["float32", "float16"],
        help="type that is stored; float16 is half as large (default: float32)",
    )
    index.add_argument(
        "--faiss",
        action="store_true",
        help="write an approximate index too, which `retrieve` then uses; for a million and more",
    )
    for command in (match, retrieve):
        command.add_argument("--json", action="store_true", help="print JSON")
    for command in (match, retrieve, index):
        add_faces(command)
        command.add_argument("--device", default="cpu", type=non_empty, help="cpu, cuda, cuda:1 (default: cpu)")


def add_faces(command: Parser) -> None:
    """How pictures are read."""
    command.add_argument("--asis", action="store_true", help="pictures are face crops already: nothing is detected")
    command.add_argument(
        "--margin", type=float, help="with --asis: times the face box that they show (default: what the network wants)"
    )


def add_embed_files(embed: Parser) -> None:
    """Let `voiceface embed` take files and folders in place of a corpus."""
    add_path(embed, "files", "FILE", "voices, faces and folders of them, in place of --data", nargs="*")
    add_faces(embed)


def run_match(options: Namespace) -> int:
    """See `voiceface.cli.inference_run`."""
    from voiceface.cli.inference_run import run_match

    return run_match(options)


def run_retrieve(options: Namespace) -> int:
    """See `voiceface.cli.inference_run`."""
    from voiceface.cli.inference_run import run_retrieve

    return run_retrieve(options)


def run_index(options: Namespace) -> int:
    """See `voiceface.cli.inference_run`."""
    from voiceface.cli.inference_run import run_index

    return run_index(options)
