"""The command line: `voiceface COMMAND ...`, a module per command. Imports torch only in those that need it."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import shtab

from voiceface.cli.parser import Parser
from voiceface.utils.errors import UserError
from voiceface.utils.version import __version__

# The module of each command, in the order of the help.
COMMANDS = {
    "fit": "fit",
    "test": "evaluate",
    "embed": "evaluate",
    "compare": "compare",
    "match": "inference",
    "retrieve": "inference",
    "index": "inference",
    "demo": "demo",
    "score": "score",
    "analyze": "score",
    "prepare": "prepare",
    "check": "check",
    "clips": "clips",
    "extract": "extract",
    "import-weights": "import_weights",
    "convert": "checkpoints",
    "pack": "checkpoints",
    "push": "checkpoints",
    "export": "checkpoints",
    "list": "listing",
}


def build_parser(command: str | None = None) -> Parser:
    """The parser of all commands, or of those of one command's module.

    Args:
        command: A command; None: all.
    """
    parser = Parser(
        prog="voiceface",
        description="Voice-face association: train, evaluate and compare published methods.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"voiceface {__version__}")
    shtab.add_argument_to(
        parser,
        ["--print_completion"],
        help='print a completion script for this shell: eval "$(voiceface --print_completion bash)"',
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    for module in dict.fromkeys(COMMANDS.values() if command is None else [COMMANDS[command]]):
        importlib.import_module(f"voiceface.cli.{module}").add_parsers(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Words after `voiceface`; default: those of this process.

    Returns:
        Exit status: 0, or 2 after a user's mistake, which is printed in one line to standard error. No word at all
        prints the help.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if not args:
            build_parser().print_help()
            return 0
        command = args[0] if args[0] in COMMANDS else None
        if command == "fit":
            from voiceface.cli import fit

            asked = {"-h", "--help"} & set(args[1:])
            return fit.print_help(args[1:], build_parser("fit")) if asked else fit.run(args[1:])
        # Words after `--` are for `voiceface fit`; argparse would take them for RESULTS.
        end = args.index("--") if command == "compare" and "--" in args else len(args)
        options = build_parser(command).parse_args(args[:end])
        options.words = args[end + 1 :]
        for path in getattr(options, "own", ()):
            from voiceface.methods.own import import_named

            import_named(path)
        module = importlib.import_module(f"voiceface.cli.{COMMANDS[options.command]}")
        return int(getattr(module, f"run_{options.command.replace('-', '_')}")(options) or 0)
    except UserError as error:
        print(f"voiceface: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"voiceface: interrupted{'; ' if stop.args else ''}{stop}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from voiceface.utils.environment import load_problem

        denied = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
        if problem := load_problem(error):
            print(f"voiceface: {problem}", file=sys.stderr)
        elif isinstance(error, OSError) and error.filename is not None and error.errno in denied:
            name = f"{error.filename}: {os.strerror(error.errno).lower()}"
            print(f"voiceface: {name}; name another place", file=sys.stderr)
        else:
            raise
        return 2
