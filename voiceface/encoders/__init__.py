"""Face and voice encoders, one network per file; a file's name is its encoder's name."""

import difflib
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from voiceface.utils.errors import UserError
from voiceface.utils.lazy import lazy
from voiceface.utils.own_classes import ENCODER_GROUP, find_class

if TYPE_CHECKING:
    from voiceface.encoders.base import FaceEncoder, VoiceEncoder

__all__ = ["FaceEncoder", "VoiceEncoder", "face_encoder", "list_encoders", "voice_encoder"]


def list_encoders() -> dict[str, list[str]]:
    """Names the encoders, without importing torch.

    Returns:
        `{"face": [names], "voice": [names]}`, sorted.
    """
    folder = Path(__file__).parent
    return {kind: sorted(path.stem for path in folder.glob(f"{kind}_*.py")) for kind in ("face", "voice")}


def face_encoder(name: str, **options: Any) -> "FaceEncoder":
    """Builds a face encoder with fresh weights.

    Args:
        name: A name from `list_encoders()["face"]`, such as "face_small"; or "timm/resnet18", which is short for
            "face_timm" with the option `model="resnet18"`; or a class of your own that is imported already, such as
            "my_package.MyFace"; or an entry point of the group `voiceface.encoders`.
        **options: The encoder's own constructor options.

    Returns:
        The encoder, in training mode.

    Raises:
        UserError: If there is no such encoder, or it has no such option or not that value of it.
    """
    if name.startswith("timm/"):
        if "model" in options:
            raise UserError(f"{name!r} names its model already; leave out the option model={options['model']!r}")
        name, options = "face_timm", {"model": name.removeprefix("timm/"), **options}
    encoder: FaceEncoder = _build("face", name, options)
    return encoder


def voice_encoder(name: str, **options: Any) -> "VoiceEncoder":
    """Builds a voice encoder with fresh weights.

    Args:
        name: A name from `list_encoders()["voice"]`, such as "voice_small"; or a class of your own that is imported
            already, such as "my_package.MyVoice"; or an entry point of the group `voiceface.encoders`.
        **options: The encoder's own constructor options.

    Returns:
        The encoder, in training mode.

    Raises:
        UserError: If there is no such encoder, or it has no such option or not that value of it.
    """
    encoder: VoiceEncoder = _build("voice", name, options)
    return encoder


def _build(kind: str, name: str, options: dict[str, Any]) -> Any:
    base = getattr(import_module("voiceface.encoders.base"), f"{kind.title()}Encoder")
    encoder = _ours(kind, name, base) or find_class(name, ENCODER_GROUP)
    if encoder is None and "." in name and all(part.isidentifier() for part in name.split(".")):
        raise UserError(
            f"{kind} encoder {name}: a class of your own is imported only where you name it: give --model {name}, "
            f"or in Python `import {name.rpartition('.')[0]}`"
        )
    if encoder is None:
        names = list_encoders()[kind]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise UserError(f"no {kind} encoder {name!r}{hint} there are: {', '.join(names)}")
    if not issubclass(encoder, base):
        raise UserError(f"{kind} encoder {name}: is no subclass of voiceface.encoders.{base.__name__}")
    known = inspect.signature(encoder, eval_str=True).parameters
    for option, value in options.items():
        if option not in known:
            raise UserError(f"{name} has no option {option!r}; it takes: {', '.join(known) or 'none'}")
        choices = get_args(known[option].annotation)
        if get_origin(known[option].annotation) is Literal and value not in choices:
            raise UserError(f"{name}: {option} {value!r} is not one of: {', '.join(map(str, choices))}")
    built = encoder(**options)
    built.built = (name, options)
    return built


def _ours(kind: str, name: str, base: type) -> type | None:
    """The encoder of one of this package's files."""
    if name not in list_encoders()[kind]:
        return None
    module = import_module(f"voiceface.encoders.{name}")
    (encoder,) = (
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, base) and member.__module__ == module.__name__
    )
    return encoder


# Torch modules: imported only when asked for, so that listing stays quick.
__getattr__ = lazy(__name__, {"FaceEncoder": "base", "VoiceEncoder": "base"})
