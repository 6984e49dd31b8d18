"""The installed libraries: their versions, and a one-line fix for one that does not load."""

import importlib
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

# torch -> torchvision and torchaudio of the same release. torchvision pins torch in its metadata up to 0.28; torchaudio
# does so up to 2.10; its 2.11.0 loads with torch 2.11 to 2.14, its 2.11.1 does not with torch 2.12 and earlier.
# docs/install.md says which of these sets were tested as a whole.
MATCHED = {
    "2.8.0": ("0.23.0", "2.8.0"),
    "2.9.0": ("0.24.0", "2.9.0"),
    "2.9.1": ("0.24.1", "2.9.1"),
    "2.10.0": ("0.25.0", "2.10.0"),
    "2.11.0": ("0.26.0", "2.11.0"),
    "2.12.0": ("0.27.0", "2.11.0"),
    "2.12.1": ("0.27.1", "2.11.0"),
    "2.13.0": ("0.28.0", "2.11.0"),
    "2.14.0": ("0.29.0", "2.11.0"),
    "2.14.1": ("0.29.1", "2.11.0"),
}
DEFAULT = "2.11.0"  # the set of constraints.txt

# Distribution -> module. The first three form a set.
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "pytorch-lightning": "pytorch_lightning",
    "lightning-utilities": "lightning_utilities",
    "torchmetrics": "torchmetrics",
    "timm": "timm",
    "webdataset": "webdataset",
    "fsspec": "fsspec",
    "numpy": "numpy",
    "scipy": "scipy",
    "numba": "numba",
    "llvmlite": "llvmlite",
    "scikit-learn": "sklearn",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
    "soundfile": "soundfile",
    "av": "av",
    "pillow": "PIL",
}
SET = ("torch", "torchvision", "torchaudio")
# Compiled libraries of the extras, which are imported only by the commands that need them.
OPTIONAL = {
    "h5py": "h5py",
    "pyarrow": "pyarrow",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "faiss-cpu": "faiss",
    "ray": "ray",
}
# Extra of pyproject.toml -> distributions that it installs.
EXTRAS = {
    "prepare": ("mtcnn", "silero-vad", "webrtcvad-wheels"),
    "import": ("h5py",),
    "parquet": ("pyarrow",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "faiss": ("faiss-cpu",),
    "demo": ("gradio", "mtcnn"),
    "pack": ("hatchling",),
    "ray": ("ray",),
    "remote": ("aiohttp", "s3fs", "huggingface_hub"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}


class Library(NamedTuple):
    """An installed library.

    Attributes:
        name: Name of its distribution.
        version: Installed version; empty if absent.
        problem: Why it does not load, in one line that says how to fix it; empty if it loads.
    """

    name: str
    version: str
    problem: str


def installed_version(distribution: str) -> str:
    """Return the version of an installed distribution; empty if absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def libraries() -> Iterator[Library]:
    """Import each library that voiceface depends on, and report whether it loads."""
    for name, module in LIBRARIES.items():
        problem = ""
        try:
            importlib.import_module(module)
        except Exception as error:
            problem = load_problem(error) or f"{name} does not load ({_reason(error)}); {_anew(name, _reason(error))}"
        yield Library(name, installed_version(name), problem)


def load_problem(error: BaseException) -> str | None:
    """Find the installed library whose import raised an exception.

    Args:
        error: Any exception.

    Returns:
        One line: the versions found, the problem, and the pip command that fixes it. None if the exception does not
        come from importing a library.
    """
    names = {module: name for name, module in (LIBRARIES | OPTIONAL).items()}
    link: BaseException | None = None if isinstance(error, MemoryError) else error
    while link is not None:
        if isinstance(link, ModuleNotFoundError) and (missing := names.get(str(link.name))) is not None:
            if missing in SET:
                return f"{missing} is not installed; {_set_command()}"
            return f"{missing} is not installed; give `pip install {missing}`"
        loading = [names[module] for module in _modules_at_import(link) if module in names]
        if loading and loading[-1] in SET:
            found = ", ".join(f"{name} {installed_version(name) or '(absent)'}" for name in SET)
            return f"{found} do not load together ({_reason(link)}); {_set_command(loading[-1] == 'torch')}"
        if loading:
            name, reason = loading[-1], _reason(link)
            return f"{name} {installed_version(name)} does not load ({reason}); {_anew(name, reason)}"
        link = link.__cause__ or link.__context__
    return None


def _modules_at_import(error: BaseException) -> list[str]:
    """List the top-level packages whose module bodies were running when the exception was raised, outermost first."""
    found, step = [], error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_name == "<module>":
            found.append(str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0])
        step = step.tb_next
    return found


def _reason(error: BaseException) -> str:
    """Return the first line of the root exception's message, with folders removed."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"(?:/[^/\s:]+)+/(?=[^/\s:]+)", "", line)[:160]


def _anew(name: str, reason: str) -> str:
    """Return the pip command for one library or, if the message blames another library, for compatible versions."""
    others = "|".join({*LIBRARIES, *LIBRARIES.values(), "No module named"} - {name, LIBRARIES.get(name, name)})
    found = installed_version(name)
    if not found or re.search(rf"\b({others})\b", reason, re.I):
        return "give `pip install -c constraints.txt .` in voiceface's folder, for versions that go together"
    return f"give `pip install --force-reinstall --no-deps {name}=={found}`"


def _set_command(torch_too: bool = False) -> str:
    """Return the pip command for the set that matches the installed torch, or for the default set."""
    torch, _, build = installed_version("torch").partition("+")
    if torch not in MATCHED:
        vision, audio = MATCHED[DEFAULT]
        return f"a matched set: `pip install torch=={DEFAULT} torchvision=={vision} torchaudio=={audio}`"
    vision, audio = MATCHED[torch]
    what = f"torch=={torch} " if torch_too else "--no-deps "
    same = ", from the index that torch came from" if build else ""
    command = f"`pip install --force-reinstall {what}torchvision=={vision} torchaudio=={audio}`"
    return f"matching torch {torch}: {command}{same}"
