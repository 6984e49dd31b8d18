"""Build a method from a checkpoint's `config.json`, and the reverse."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voiceface.checkpoints.config import SCHEMA, check_arguments, compatible, default_name
from voiceface.methods.recipes import list_methods
from voiceface.utils.environment import load_problem
from voiceface.utils.errors import UserError
from voiceface.utils.own_classes import METHOD_GROUP, distributions_of, find_class, is_own
from voiceface.utils.version import __version__

if TYPE_CHECKING:
    from voiceface.methods.base import Method


def config_of(
    method: "Method",
    recipe: str,
    data: Mapping[str, Any],
    sha256: str,
    calibration: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    name: str = "",
) -> dict[str, Any]:
    """Build the content of `config.json`.

    Args:
        method: The trained method.
        recipe: Name of the recipe.
        data: The training data.
        sha256: Hash of the weights' file.
        calibration: From `voiceface.evaluation.calibration.fit_calibration`; None: unknown.
        dtype: Type of the weights in their file.
        name: Name of the checkpoint; empty: recipe and corpus.
    """
    face, voice = method.face_encoder, method.voice_encoder
    own = [type(part) for part in (method, face, voice) if is_own(type(part))]
    return {
        "schema": SCHEMA,
        "voiceface": __version__,
        "requires": compatible(__version__),
        "name": name or default_name(recipe or type(method).__name__, str(data.get("corpus") or "")),
        "recipe": recipe,
        "method": type(method).__module__.removeprefix("voiceface.methods."),
        "class": type(method).__name__,
        "arguments": dict(method.hparams),
        "encoders": {
            "face": {
                "name": _encoder_name(method, "face"),
                "size": face.size,
                "margin": face.margin,
                "dim": face.dim,
                "parameters": sum(p.numel() for p in face.parameters()),
            },
            "voice": {
                "name": _encoder_name(method, "voice"),
                "sample_rate": voice.sample_rate,
                "dim": voice.dim,
                "parameters": sum(p.numel() for p in voice.parameters()),
            },
        },
        "space": method.space,
        "directions": list(method.directions),
        "parameters": method.count_parameters(),
        "sha256": sha256,
        "dtype": dtype,
        "data": dict(data),
        "calibration": None if calibration is None else {way: dict(fitted) for way, fitted in calibration.items()},
        **({"distributions": distributions_of(own)} if own else {}),
    }


def method_class(
    what: object, method: str, name: str, distributions: Mapping[str, str] | None = None
) -> "type[Method]":
    """Find a class of `voiceface.methods`, or one of another package that the user trusts; see `find_class`.

    Args:
        what: File or folder that names the class, for the message.
        method: The file's name without `.py`; of another package, the module.
        name: Name of the class.
        distributions: Distributions that have the class, with their versions; for the message.

    Raises:
        UserError: There is no such class, or it would have to be imported because of what a file says.
    """
    from voiceface.methods.base import Method

    if method not in list_methods():
        own = find_class(f"{method}.{name}", METHOD_GROUP)
        if own is not None and issubclass(own, Method):
            return own
        said = " of " + ", ".join(f"{each} {v}" for each, v in distributions.items()) if distributions else ""
        raise UserError(
            f"{what}: needs the class {method}.{name}{said}, and no checkpoint chooses what is imported; if you trust "
            f"it, give --model {method}.{name} (in Python: import it), or install a package that offers it in "
            f"{METHOD_GROUP}"
        )
    module = importlib.import_module(f"voiceface.methods.{method}")
    owner = getattr(module, name, None)
    if not (isinstance(owner, type) and issubclass(owner, Method) and owner.__module__ == module.__name__):
        raise UserError(f"{what}: the class {name!r} is no method of voiceface.methods.{method}")
    return owner


def build_method(what: object, owner: "type[Method]", arguments: Mapping[str, Any]) -> "Method":
    """Build a method with fresh weights from plain arguments.

    Args:
        what: File or folder that names the arguments, for the message.
        owner: From `method_class`.
        arguments: Arguments of its constructor.

    Raises:
        UserError: The constructor does not accept the arguments.
    """
    check_arguments(what, owner, arguments)
    try:
        return owner(**arguments)
    except (AttributeError, TypeError, ValueError, ArithmeticError, RuntimeError, LookupError, MemoryError) as error:
        if load_problem(error):
            raise  # an encoder's library does not load: the arguments are not the cause
        said = next(iter(str(error).splitlines()), "")[:300]  # torch appends where in its own code it failed
        raise UserError(f"{what}: {owner.__name__} cannot be built from its arguments ({said})") from None


def _encoder_name(method: "Method", kind: str) -> str:
    encoder = getattr(method, f"{kind}_encoder")
    return str(method.hparams.get(f"{kind}_encoder") or encoder.built[0] or type(encoder).__name__)
