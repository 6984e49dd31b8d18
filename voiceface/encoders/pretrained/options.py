"""The encoder options that a user gives for an import, checked against the encoder's own."""

import inspect
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from voiceface.encoders.pretrained.layout import build
from voiceface.utils.errors import UserError

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


def check_options(target: str, options: Mapping[str, Any]) -> None:
    """Check names and types of options.

    Args:
        target: A name from `voiceface.encoders.pretrained.list_importers()`.
        options: What the user gave.

    Raises:
        UserError: There is no such option, or its value is not of the kind that the constructor's annotation names.
    """
    if not options:
        return
    whole = not target.startswith(("face_", "voice_"))
    known = {} if whole else inspect.signature(type(build(target, {})), eval_str=True).parameters
    for name, value in options.items():
        if name not in known:
            takes = f"it takes: {', '.join(known)}" if known else "it takes none, leave --options out"
            raise UserError(f"--options: {target} has no option {name!r}; {takes}")
        kind = known[name].annotation
        said = f"--options: {name} {json.dumps(value)} is not"
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise UserError(f"{said} known; choose one of: {', '.join(map(str, get_args(kind)))}")
        elif kind in _KINDS and not _is(value, kind):
            raise UserError(f"{said} {_KINDS[kind]}; give {_KINDS[kind]}")


def check_against(target: str, source: str, what: str, given: Mapping[str, Any], needed: Mapping[str, Any]) -> None:
    """Refuse options that contradict what a file calls for.

    Args:
        target: What the weights are for.
        source: The file, for messages.
        what: The file's layout, for messages.
        given: Options of the user.
        needed: Options that the weights are imported with.

    Raises:
        UserError: They differ; the message holds both values.
    """
    for name, value in given.items():
        if needed[name] != value:
            raise UserError(
                f"{source}: --options: {name} {json.dumps(value)}, but {target} needs {name} "
                f"{json.dumps(needed[name])} with this file ({what}); leave {name} out"
            )


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind
