"""Files that would run code if they were unpickled: training states, weight files, arrays. None of them is."""

import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import weight_files as public
from safety_support import Evil, canary, nothing_ran, payload, refused, watched

import voiceface.training.fit  # noqa: F401  # before the watch: what it imports makes folders of its own
from voiceface.cli import main
from voiceface.encoders.pretrained import list_importers
from voiceface.encoders.pretrained.convert import import_weights
from voiceface.encoders.pretrained.header import read_header
from voiceface.encoders.weights import load_into
from voiceface.training.run_folder import check_readable


class Compiled:
    """Its pickle runs Python code, without another program."""

    def __init__(self, folder: Path) -> None:
        self.code = payload(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (self.code,)


class Inside:
    """Its pickle unpickles another one by a function of torch."""

    def __init__(self, folder: Path) -> None:
        buffer = io.BytesIO()
        torch.save(Evil(folder), buffer)
        self.content = buffer.getvalue()

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return torch.storage._load_from_bytes, (self.content,)


def script(folder: Path) -> bytes:
    """A zip file with PyTorch's names, whose pickle runs a command."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(folder), 2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("../../outside", "x")
    return buffer.getvalue()


def old_tar(folder: Path) -> bytes:
    """What PyTorch wrote before 0.1.10: a tar file of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages", "../../outside"):
            content = pickle.dumps(Evil(folder), 2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that look like a run's training state or a network's weights, and run something when unpickled."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "files"
    folder.mkdir()
    whole = {"state_dict": {}, "loops": {}, "optimizer_states": [], "global_step": 1, "pytorch-lightning_version": "2"}
    files = []
    for evil in (Evil(tmp_path), Compiled(tmp_path), Inside(tmp_path)):
        name = type(evil).__name__.lower()
        for suffix, options in ((".ckpt", {}), (".pth", {"_use_new_zipfile_serialization": False})):
            files.append(folder / f"{name}{suffix}")
            torch.save({**whole, "state_dict": {"a": torch.zeros(2), "b": evil}, "hook": evil}, files[-1], **options)
        files.append(folder / f"{name}.pt")
        files[-1].write_bytes(pickle.dumps(evil))
    for name, content in (("names.pt", script(tmp_path)), ("tar.pth", old_tar(tmp_path))):
        files.append(folder / name)
        files[-1].write_bytes(content)
    files.append(folder / "torch7.t7")
    files[-1].write_bytes(b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x0d\0\0\0nn.Sequential" + pickle.dumps(Evil(tmp_path), 0))
    return files


def test_these_files_do_run_where_nothing_guards(states: list[Path], tmp_path: Path):
    for path in (path for path in states if path.suffix == ".ckpt" or path.name in ("evil.pt", "compiled.pt")):
        with watched() as watch:
            torch.load(path, weights_only=False) if path.suffix == ".ckpt" else pickle.loads(path.read_bytes())
        assert watch.ran, path
        canary(tmp_path).unlink()


def test_a_training_state_is_never_unpickled(states: list[Path], tmp_path: Path):
    for path in states:
        line = refused(tmp_path, lambda: check_readable(path))  # noqa: B023
        assert line == f"--ckpt_path {path}: not a training state, or damaged; give the last.ckpt of a run"


def test_a_training_state_of_odd_values_is_refused(tmp_path: Path):
    path = tmp_path / "last.ckpt"
    whole = {"state_dict": {}, "loops": {}, "optimizer_states": [], "global_step": 3}
    torch.save(whole, path)
    assert check_readable(path) == 3
    odd = [{**whole, "global_step": "three"}, {k: v for k, v in whole.items() if k != "global_step"}, [1], 3, None]
    for content in odd:
        torch.save(content, path)
        assert "not a training state" in refused(tmp_path, lambda: check_readable(path))


@pytest.mark.parametrize("where", ["named", "last", "address"])
def test_fit_refuses_before_anything_is_built(states, tones, tmp_path, where, monkeypatch, capfd):
    monkeypatch.delenv("VOICEFACE_RUN_FOLDER", raising=False)
    out = tmp_path / "run"
    out.mkdir()
    (out / "last.ckpt").write_bytes(states[0].read_bytes())
    resumed = {"named": states[0], "last": "last", "address": "http://127.0.0.1:9/last.ckpt"}[where]
    monkeypatch.setenv("VOICEFACE_RUN_FOLDER", "")  # so that what the command sets is taken back
    with watched() as watch:
        words = ["fit", "--model", "trinet", "--data", tones, "--out", out, "--ckpt_path", resumed]
        status = main([str(word) for word in words])
    said = capfd.readouterr().err
    assert status == 2
    assert len(said.splitlines()) == 1
    assert "--ckpt_path" in said
    nothing_ran(watch, tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["last.ckpt"]


def test_hyper_parameters_of_a_training_state_call_nothing(tmp_path: Path):
    """Lightning up to 2.6.5 called what `_instantiator` names, although it unpickled nothing."""
    from voiceface.methods.trinet import TriNet

    small = {"face_encoder": "face_small", "voice_encoder": "voice_small", "freeze_voice": False, "dim": 4}
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "evil_module.py").write_text(f"def build(*args, **kwargs):\n    {payload(tmp_path)}")
    state = {
        "state_dict": TriNet(**small).state_dict(),
        "pytorch-lightning_version": "2.6.6",
        "hyper_parameters": {**small, "_class_path": "os.system", "_instantiator": "evil_module.build"},
    }
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.MonkeyPatch.context() as patch, watched() as watch:
        patch.syspath_prepend(folder)
        with pytest.raises(Exception, match=r"instantiator|evil_module|trusted|unexpected") as caught:
            TriNet.load_from_checkpoint(tmp_path / "last.ckpt", map_location="cpu")
    nothing_ran(watch, tmp_path)
    assert caught


@pytest.mark.parametrize("target", list_importers())
def test_no_importer_unpickles(states: list[Path], tmp_path: Path, target: str):
    out = tmp_path / "out.safetensors"
    for path in states[:3] + states[-3:]:
        line = refused(tmp_path, lambda: import_weights(target, path, out))  # noqa: B023
        assert line.startswith(f"{path}: ")
        assert not out.exists()


def test_weights_named_to_fit_are_never_unpickled(states: list[Path], tmp_path: Path):
    for path in states:
        module = torch.nn.Linear(1, 1)
        assert "not a safetensors file" in refused(tmp_path, lambda: load_into(module, path, "--w"))  # noqa: B023
        assert "not a safetensors file" in refused(tmp_path, lambda: read_header(str(path)))  # noqa: B023


@pytest.mark.parametrize("command", ["score", "analyze"])
def test_embeddings_are_never_unpickled(tmp_path: Path, command: str, capfd):
    key, evil = np.array(["a", "b"]), np.array([Evil(tmp_path), Evil(tmp_path)], object)
    good = {"voices": np.eye(2), "faces": np.eye(2)}
    good |= {f"{kind}_{what}": key for kind in ("voice", "face") for what in ("identity", "key")}
    people = tmp_path / "people.csv"
    people.write_text("identity,gender\na,f\nb,m\n")
    for name in ("voices", "voice_key", "face_identity", "similarity", "about"):
        np.savez(tmp_path / "e.npz", **{**good, name: evil})
        words = [command, tmp_path / "e.npz", "--identities", people, "--out", tmp_path / "out"]
        with watched() as watch:
            status = main([str(word) for word in words])
        assert status == 2
        said = capfd.readouterr().err
        assert "holds Python objects, which are never unpickled" in said
        assert len(said.splitlines()) == 1
        nothing_ran(watch, tmp_path)
        assert not (tmp_path / "out").exists()
    np.savez(tmp_path / "good.npz", **good)
    np.save(tmp_path / "s.npy", evil, allow_pickle=True)
    words = [command, tmp_path / "good.npz", "--identities", people, "--similarity", tmp_path / "s.npy"]
    with watched() as watch:
        assert main([str(word) for word in [*words, "--out", tmp_path / "out"]]) == 2
    assert "never unpickled" in capfd.readouterr().err
    nothing_ran(watch, tmp_path)


def test_a_public_file_reads_no_other_file(tmp_path: Path):
    """HDF5 can say that an array lies in another file, or that a name leads to one."""
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kernel:0"] = np.ones((2, 2), np.float32)

    def external(group):
        group.create_dataset("kernel:0", (2, 2), "f4", external=[(str(secret), 0, 16)])

    def link(group):
        group["kernel:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/kernel:0")

    def virtual(group):
        layout = h5py.VirtualLayout((2, 2), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "kernel:0", (2, 2))
        group.create_virtual_dataset("kernel:0", layout)

    for make in (external, link, virtual):
        path = tmp_path / f"{make.__name__}.h5"
        public.keras_file(path, {"conv1": {"bias": np.zeros(2, np.float32)}})
        with h5py.File(path, "r+") as file:
            make(file["conv1"])
            file["conv1"].attrs["weight_names"] = [b"kernel:0"]
        line = refused(tmp_path, lambda: import_weights("voice_thin_resnet34", path, tmp_path / "out"))  # noqa: B023
        assert "another file" in line


def test_options_of_a_weight_file_are_checked(tmp_path: Path):
    """What a header says of itself becomes constructor options, never names of classes."""
    for said in ({"encoder": "../../evil"}, {"method": "os"}, {"encoder": "face_small", "options": '{"evil": 1}'}):
        from safetensors.torch import save

        path = tmp_path / "w.safetensors"
        path.write_bytes(save({"a": torch.zeros(1)}, {"options": "{}", **said}))
        with watched() as watch:
            status = main(["fit", "--model", "trinet", "--pretrained", str(path), "--out", str(tmp_path / "run")])
        assert status == 2, json.dumps(said)
        nothing_ran(watch, tmp_path)
        assert not (tmp_path / "run").exists()
