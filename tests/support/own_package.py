"""The package of docs/add-a-method.md, written from the page."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-method.md").read_text()
METHOD, VOICE = "my_package.MyMethod", "my_voice.MyVoice"


def write_package(folder: Path) -> Path:
    """Write the page's files, each the first block below the line that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("my_package.py", "my_voice.py", "pyproject.toml"):
        found = re.search(rf"`(?:my_package/)?{name}`.*?^```\w+\n(.*?)^```$", PAGE, re.M | re.S)
        assert found, name
        (folder / name).write_text(found[1])
    return folder


def install(folder: Path) -> None:
    """Write the metadata that `pip install -e` writes from the page's pyproject.toml."""
    text = (folder / "pyproject.toml").read_text()
    name, version = (re.findall(rf'^{key} = "(.+)"$', text, re.M)[0] for key in ("name", "version"))
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = re.findall(r'^\[project\.entry-points\."(.+)"\]\n(\w+) = "(.+)"$', text, re.M)
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{name} = {value}\n" for group, name, value in groups))
    (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/entry_points.txt,,\n")
