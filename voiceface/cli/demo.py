"""`voiceface demo`: a page on which anyone can try a checkpoint."""

import argparse
from argparse import Namespace
from pathlib import Path

from voiceface.checkpoints.find import only_checkpoint
from voiceface.cli.inference import load
from voiceface.cli.parser import Parser, add_checkpoint, add_command, add_path, non_empty
from voiceface.utils.errors import UserError

DEMO = """examples:
  voiceface demo                                    the checkpoint that is installed
  voiceface demo trinet-synthetic --open            and open the page in a browser
  voiceface demo CHECKPOINT --gallery faces.index --files FACES_DIR    search what `voiceface index` made, too

For research on published methods; never to identify or to screen people."""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    demo = add_command(commands, "demo", "try a checkpoint on a page in the browser", DEMO)
    add_checkpoint(
        demo, "installed checkpoint, checkpoint folder or hf://owner/name (default: the installed one)", nargs="?"
    )
    demo.add_argument(
        "--host",
        default="127.0.0.1",
        type=non_empty,
        help="address to listen on; 0.0.0.0 lets other machines use the page (default: 127.0.0.1, this machine only)",
    )
    demo.add_argument("--port", default=7860, type=int, help="port; 0 takes any free one (default: 7860)")
    add_path(demo, "--gallery", "DIR", "index that the page searches, made by `voiceface index`")
    add_path(demo, "--files", "DIR", "folder of the indexed files, to show what a search finds")
    demo.add_argument("--device", default="cpu", type=non_empty, help="cpu, cuda, cuda:1 (default: cpu)")
    demo.add_argument("--open", action="store_true", help="open the page in the browser of this machine")


def run_demo(options: Namespace) -> int:
    """Serve the page until it is interrupted."""
    if options.files is not None and options.gallery is None:
        raise UserError(f"--files {options.files}: shows what is found in an index; give --gallery too")
    if options.files is not None and not Path(options.files).is_dir():
        raise UserError(f"--files {options.files}: no such folder")
    options.checkpoint = options.checkpoint or only_checkpoint()
    from voiceface.inference.demo import check_extra, serve
    from voiceface.inference.demo_answers import Demo
    from voiceface.inference.gallery import Index

    check_extra()
    model = load(options)
    index = None if options.gallery is None else Index(Path(options.gallery), model)
    serve(
        Demo(model, index, None if options.files is None else Path(options.files)),
        options.host,
        options.port,
        options.open,
    )
    return 0
