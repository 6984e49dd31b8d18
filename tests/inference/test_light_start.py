"""`voiceface match` imports Lightning without the libraries that torchmetrics brings in, and in Python all is there."""

import subprocess
import sys

import pytest
from tests_support import ROOT

CHECKPOINT = "zoo/trinet-synthetic/src/voiceface_trinet_synthetic"
HEAVY = "{'torchvision', 'scipy', 'matplotlib', 'timm', 'numba', 'sklearn'} & set(sys.modules)"


def run(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.splitlines()


@pytest.mark.slow(reason="a fresh process; test_cli.py looks at what the light commands import")
def test_match_from_the_shell_imports_no_more_than_it_uses():
    words = ["match", CHECKPOINT, *(f"docs/example/{name}" for name in ("voice.flac", "a.jpg", "b.jpg")), "--asis"]
    *table, heavy, met, whole = run(
        f"import sys\nfrom voiceface.cli import main\nmain({words!r})\nprint({HEAVY})\n"
        "from lightning_utilities.core.imports import RequirementCache, package_available\n"
        "print(bool(RequirementCache('torchvision')), bool(RequirementCache('scipy>=1.8.0')))\n"
        "print(package_available('scipy'))"
    )
    assert [line.split()[0] for line in table] == ["face", "docs/example/b.jpg", "docs/example/a.jpg"]
    assert (heavy, met, whole) == ("set()", "True True", "True")


@pytest.mark.slow(reason="a process imports all that torchmetrics brings in")
def test_a_users_own_process_has_all_of_torchmetrics():
    (found,) = run(
        f"import sys, voiceface\nvoiceface.load('{CHECKPOINT}')\n"
        "from torchmetrics.utilities.plot import plt\n"
        "print(plt.__name__, 'torchvision' in sys.modules)"
    )
    assert found == "matplotlib.pyplot True"
