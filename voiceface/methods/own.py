"""`--model package.module.Class`: methods and encoders of other packages, imported because the user names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceface.methods.recipes import list_recipes
from voiceface.utils.errors import UserError
from voiceface.utils.own_classes import METHOD_GROUP, import_class, installed

if TYPE_CHECKING:
    from voiceface.methods.base import Method


def own_method(name: str) -> "type[Method] | None":
    """Import the class that `--model` names.

    Args:
        name: Value of `--model`: `package.module.Class`, or the name of an entry point of the group
            `voiceface.methods`.

    Returns:
        The class; None where the name can only be a recipe's.

    Raises:
        UserError: It names a file, or the class cannot be imported or is no method.
    """
    if "/" in name or Path(name).suffix in (".yaml", ".yml", ".py"):
        raise UserError(
            f"--model {name}: a file; --model takes a recipe, or a class as package.module.Class, and --config takes a "
            "file of settings"
        )
    if name in list_recipes() or not ("." in name or name in installed(METHOD_GROUP)):
        return None
    from voiceface.methods.base import Method

    owner: type[Method] = import_class(name, Method, "--model")
    return owner


def import_named(path: str) -> None:
    """Import a method or an encoder that a checkpoint needs, so that it is built.

    Args:
        path: `package.module.Class`, or the name of an entry point of `voiceface.methods` or `voiceface.encoders`.

    Raises:
        UserError: There is no such class, importing it fails, or it is neither a method nor an encoder.
    """
    from voiceface.encoders.base import FaceEncoder, VoiceEncoder
    from voiceface.methods.base import Method

    import_class(path, (Method, FaceEncoder, VoiceEncoder), "--model")


def import_encoders(arguments: Mapping[str, Any]) -> None:
    """Import the classes that `--model.face_encoder` and `--model.voice_encoder` name.

    Args:
        arguments: All of the method's arguments.

    Raises:
        UserError: A class cannot be imported or is no such encoder.
    """
    for kind in ("face", "voice"):
        name = arguments.get(f"{kind}_encoder")
        if isinstance(name, str) and "." in name and not name.startswith("timm/"):
            import voiceface.encoders.base as encoders

            import_class(name, getattr(encoders, f"{kind.title()}Encoder"), f"--model.{kind}_encoder")
