"""Templates of the text files in a checkpoint's wheel and in the wheel that installs a zoo."""

PROJECT = """\
# Written by `voiceface pack --source`.
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = "{description}"
readme = "src/{package}/README.md"
license = "{licence}"
requires-python = ">=3.10"
dependencies = ["voiceface{requires}"{others}]

[project.entry-points."{group}"]
"{name}" = "{package}"

[tool.hatch.build]
ignore-vcs = true

[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
"""

MODULE = '''\
"""{description}."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voiceface.inference.model import Model

__version__ = "{version}"


def load(device: str = "cpu") -> "Model":
    """Load the checkpoint, as `voiceface.load("{name}")` does."""
    import voiceface

    return voiceface.load(Path(__file__).parent, device=device)
'''

ZOO = """\
# Written by `voiceface pack --source`: it depends on every checkpoint of this folder.
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = "All checkpoints of the voiceface zoo"
requires-python = ">=3.10"
license = "Apache-2.0"
dependencies = [
{dependencies}]

[tool.hatch.build.targets.wheel]
bypass-selection = true
"""
