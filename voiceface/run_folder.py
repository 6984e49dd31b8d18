"""The folder of a run: chosen, checked, and left alone where it holds another run."""

import os
from pathlib import Path

import torch

from voiceface.errors import UserError

RUN_FOLDER = "VOICEFACE_RUN_FOLDER"
made: list[Path] = []  # the run folder, where this process made it


def check_readable(path: Path) -> None:
    """Refuse a file that is no training state, before the work begins."""
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file")
    try:
        state = torch.load(path, map_location="meta", weights_only=True)
        whole = {"state_dict", "loops", "optimizer_states"} <= state.keys()
    except Exception:
        whole = False
    if not whole:
        raise UserError(f"--ckpt_path {path}: not a training state, or damaged; give the last.ckpt of a run")


def run_folder(chosen: dict[str, str], resumed: str | None) -> Path:
    """`--out`, or the next free `runs/RECIPE`; processes that this one starts use the same."""
    if "LOCAL_RANK" in os.environ and RUN_FOLDER in os.environ:
        return Path(os.environ[RUN_FOLDER])
    if chosen["out"]:
        out = Path(chosen["out"])
        if (out / "last.ckpt").exists() and not resumed:
            raise UserError(f"--out {out}: holds a run; go on with it by --ckpt_path last, or choose another folder")
    elif resumed and resumed != "last":
        out = Path(resumed).parent
    else:
        name = chosen["recipe"] or "run"
        names = [f"runs/{name}", *(f"runs/{name}-{i}" for i in range(2, 10_000))]
        taken = [Path(n) for n in names if (Path(n) / "last.ckpt").exists()]
        if resumed == "last":
            if not taken:
                raise UserError("--ckpt_path last: no run to go on with here; name its folder by --out")
            return taken[-1]
        out = next(Path(n) for n in names if not Path(n).exists() or not any(Path(n).iterdir()))
    if not out.exists():
        made.append(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot be written ({(error.strerror or str(error)).lower()}); choose another folder"
        ) from None
    os.environ[RUN_FOLDER] = str(out)
    return out


def leave_nothing() -> None:
    """After a refusal, remove the run folder that this process made, unless training left something in it."""
    for folder in made:
        if folder.exists() and {path.name for path in folder.iterdir()} <= {"config.yaml"}:
            (folder / "config.yaml").unlink(missing_ok=True)
            folder.rmdir()
