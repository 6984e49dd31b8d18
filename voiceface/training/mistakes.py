"""Errors of Lightning and jsonargparse as one line for the user."""

import re

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException

from voiceface.utils.errors import UserError


def users_mistake(error: BaseException) -> str | None:
    """Translate a library's error into a one-line error for the user.

    Args:
        error: Any error raised by LightningCLI.

    Returns:
        One line, or None if the mistake is not the user's.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UserError):
            return str(link)
        link = link.__cause__ or link.__context__
    if isinstance(error, MisconfigurationException):
        return " ".join(str(error).split())
    if not isinstance(error, ArgumentError):
        return None
    text = str(error)
    option = ".".join(re.findall(r'Parser key "([^"]+)"', text))
    value = re.search(r"(?:Got value|Given value): ('?)(.*)\1", text)
    expected = re.findall(r"Expected a (?:<class ')?(.+?)(?:'>)?(?:\. Got value.*)?$", text, re.M)
    wanted = " or ".join(dict.fromkeys(e.removeprefix("typing.") for e in expected if e != "NoneType"))
    wanted = re.sub(r"Literal\[(.+?)\]", lambda choices: choices[1].replace("'", "").replace(", ", " or "), wanted)
    if option and value and wanted:
        return f"--{option} {value[2]}: expected {wanted}"
    return " ".join(text.split())
