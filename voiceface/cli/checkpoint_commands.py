"""What `voiceface convert`, `export`, `pack` and `push` do."""

from argparse import Namespace
from pathlib import Path

from voiceface.checkpoints.find import find_checkpoint
from voiceface.utils.errors import UserError


def run_convert(options: Namespace) -> int:
    """Convert and say where to."""
    if not Path(options.ckpt).is_file():  # answered before torch is imported
        raise UserError(f"{options.ckpt}: no such file; give the last.ckpt or best.ckpt of a run")
    from voiceface.checkpoints.convert import convert

    convert(Path(options.ckpt), Path(options.out), options.model, "float16" if options.half else "float32")
    print(f"checkpoint: {options.out}")
    return 0


def run_export(options: Namespace) -> int:
    """Export a checkpoint's encoders, print the files."""
    folder = find_checkpoint(options.checkpoint)
    from voiceface.checkpoints.export import Part, export

    parts: tuple[Part, ...] = ("voice", "face") if options.part == "both" else (options.part,)
    for path in export(folder, Path(options.out), options.format, parts):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def run_pack(options: Namespace) -> int:
    """Make a wheel, or the project that it is built from; print its path."""
    from voiceface.checkpoints.wheel import pack, write_source

    folder = find_checkpoint(options.checkpoint)
    if options.source is not None:
        print(write_source(folder, Path(options.source), options.name, options.version))
    else:
        print(pack(folder, Path(options.out), options.name, options.version))
    return 0


def run_push(options: Namespace) -> int:
    """Put a checkpoint on the hub; print its address, and what to load it by."""
    from voiceface.checkpoints.hub import push

    print(push(find_checkpoint(options.checkpoint), options.repository, options.private))
    return 0
