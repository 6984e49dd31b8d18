"""The parser that every command shares: one-line errors, examples below the help, shell completion."""

import argparse
import re
from typing import Any, NoReturn

import shtab

from voiceface.methods.recipes import nearest
from voiceface.utils.errors import UserError

FOLDERS = ("DIR", "CHECKPOINT", "OUT")  # what their metavars say


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors that name the nearest word."""

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` instead of printing the usage."""
        for pattern, words in (
            (r"unrecognized arguments: (\S+)", self._option_string_actions),
            (r"invalid choice: '?([^' ]+)", self._choices()),
        ):
            found = re.search(pattern, message)
            if found:
                option = re.match(r"argument (--[a-z-]+)", message)
                message = f"{option[1] + ' ' if option else ''}{found[1]}: not known here{nearest(found[1], words)}"
        raise UserError(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown words here, where the command that they were given to is known."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _choices(self) -> list[str]:
        return [str(c) for action in self._actions if action.choices for c in action.choices]


def non_empty(value: str) -> str:
    """A word that must not be empty, as an unset variable leaves it."""
    if not value:
        raise argparse.ArgumentTypeError("the value is empty (an unset variable?)")
    return value


def add_path(parser: argparse._ActionsContainer, name: str, metavar: str, help: str, **options: Any) -> None:
    """Add an argument that the shell completes with files, or with folders."""
    action = parser.add_argument(name, metavar=metavar, help=help, type=non_empty, **options)
    action.complete = shtab.DIRECTORY if metavar in FOLDERS else shtab.FILE  # type: ignore[attr-defined]


def add_checkpoint(
    parser: Parser, help: str = "installed checkpoint, checkpoint folder or hf://owner/name", **options: Any
) -> None:
    """Add CHECKPOINT, and --model."""
    add_path(parser, "checkpoint", "CHECKPOINT", help, **options)
    add_own(parser)


def add_own(parser: Parser) -> None:
    """Add --model of a command that takes a checkpoint."""
    parser.add_argument(
        "--model",
        dest="own",
        metavar="CLASS",
        type=non_empty,
        action="append",
        default=[],
        help="method or encoder of your own that the checkpoint needs, as package.module.Class; may come several times",
    )


def add_corpus(parser: argparse._ActionsContainer) -> None:
    """Add --data."""
    add_path(parser, "--data", "DIR", "corpus; without it the built-in synthetic one")


def add_gpus(parser: Parser) -> None:
    """Add --gpus of a command that uses one at most."""
    parser.add_argument("--gpus", type=int, default=0, choices=[0, 1], help="1: use a GPU")


def positive(text: str) -> float:
    """A number above 0, as an argument's type."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("give a number above 0")
    return number


def add_passes(parser: Parser) -> None:
    """Add --evaluation-seconds of a command that embeds voices."""
    parser.add_argument(
        "--evaluation-seconds",
        type=positive,
        metavar="S",
        help="seconds of voices in one pass through the network, padding included (default: by the memory at hand)",
    )


def add_command(commands: "argparse._SubParsersAction[Parser]", name: str, help: str, example: str) -> Parser:
    """Add a command, its example below its help."""
    return commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n  {example}" if "\n" not in example else example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
