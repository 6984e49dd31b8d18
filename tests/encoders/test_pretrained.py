"""Public weight files, rebuilt from our own networks by the inverse maps of `weight_files`, come back bit by bit."""

import hashlib
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import weight_files as public
from network_support import constant_weights, fill
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests_support import voiceface
from torch.nn import functional as F

from voiceface.cli import main
from voiceface.encoders import face_encoder, list_encoders, voice_encoder
from voiceface.encoders.pretrained import list_importers
from voiceface.encoders.pretrained.convert import _compare, convert, import_weights
from voiceface.encoders.pretrained.face_vgg16 import LAYOUTS as VGG16_LAYOUTS
from voiceface.encoders.pretrained.formats import read_tensors
from voiceface.encoders.pretrained.header import read_header
from voiceface.encoders.pretrained.layout import build, hwio, layouts_of
from voiceface.encoders.weights import load_into, misfit
from voiceface.utils.errors import UserError

CASES = {
    "facenet-pytorch": ("face_inception_resnet_v1", {}, public.facenet),
    "arcface_torch": ("face_lresnet50_ir", {"variant": "arcface", "divisor": 127.5}, public.arcface),
    "IR_50": ("face_lresnet50_ir", {"variant": "evolve"}, public.evolve),
    "IR_SE_50": ("face_seresnet50_ir", {}, public.evolve),
    "vgg_face_dag": ("face_vgg16", {"pixels": "vggface"}, public.vgg_face),
    "timm vgg16": ("face_vgg16", {"pixels": "imagenet"}, public.timm_vgg16),
    "torchvision vgg16": ("face_vgg16", {"pixels": "imagenet"}, public.torchvision_vgg16),
    "GhostVLAD": ("voice_thin_resnet34", {"clusters": 8, "ghosts": 2}, public.ghostvlad),
    "SoundNet npy": ("voice_soundnet8", {"scale": 256.0}, public.soundnet_npy),
    "SoundNet npy, older": ("voice_soundnet8", {"scale": 256.0}, public.soundnet_old_npy),
    "SoundNet pth": ("voice_soundnet8", {"scale": 256.0}, public.soundnet_pth),
    "VGGVox pth": ("voice_vggvox", {"dim": 1024, "activation": False}, public.vggvox_pth),
    "VGGVox h5": ("voice_vggvox", {"dim": 1024, "activation": True}, public.vggvox_h5),
    "VGGVox SimpleNN": ("voice_vggvox", {"dim": 1024, "activation": False}, public.vggvox_simplenn),
    "VGGVox DagNN": ("voice_vggvox", {"dim": 1024, "activation": True}, public.vggvox_dagnn),
}


def network(target, options, seed=0):
    """An encoder in eval mode with other numbers everywhere, batch norms included."""
    with constant_weights():
        encoder = (face_encoder if target.startswith("face") else voice_encoder)(target, **options).eval()
    fill(encoder, seed)
    return encoder


def embed(encoder, target):
    rng = np.random.default_rng(1)
    with torch.no_grad():
        if target.startswith("face"):
            return encoder(torch.from_numpy(rng.integers(0, 256, (1, 3, encoder.size, encoder.size), np.uint8)))
        return encoder(torch.from_numpy(rng.normal(0, 0.1, (1, 17_000)).astype(np.float32)))


SECOND = pytest.mark.slow(reason="another file of 60 to 500 MB, of a network that the quick ones have")
SECONDS = ("facenet-pytorch", "IR_SE_50", "arcface_torch", "torchvision vgg16", "vgg_face_dag", "VGGVox SimpleNN")


@pytest.mark.parametrize("case", [pytest.param(case, marks=SECOND if case in SECONDS else []) for case in CASES])
def test_a_file_of_the_public_layout_gives_the_same_network(case, tmp_path: Path):
    target, options, write = CASES[case]
    encoder = network(target, options)
    source, out = write(encoder.state_dict(), tmp_path), tmp_path / "out.safetensors"
    import_weights(target, source, out)
    again = network(target, options, seed=1)
    load_into(again, out, "test")
    for name, tensor in again.state_dict().items():
        if "SimpleNN" in case or "DagNN" in case:  # deviations are stored, rounded, in place of variances
            torch.testing.assert_close(tensor, encoder.state_dict()[name], rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(tensor, encoder.state_dict()[name]), name
    torch.testing.assert_close(embed(again, target), embed(encoder, target), rtol=1e-5, atol=1e-6)
    with safe_open(out, "pt") as file:
        said = file.metadata()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert json.loads(said.pop("options")) == options
    assert said == {"encoder": target, "source": source.name, "sha256": digest}
    about = read_header(str(out))
    assert (about.encoder, about.method, about.options) == (target, "", options)


def test_vgg_m_whose_names_are_ours():
    ours = build("face_vggm", {}).state_dict()
    tensors = {name: torch.zeros(t.shape) for name, t in ours.items() if "num_batches" not in name}
    tensors["bn52.running_mean"][3] = 2.0
    tensors["fc6.weight"][5, 6, 1, 2] = 3.0
    found, options = convert("face_vggm", {**tensors, "fc8.weight": torch.zeros(2, 2)}, "file", {})
    assert options == {}
    assert misfit(ours, found) == ""
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert found["bn49.num_batches_tracked"] == 0


@pytest.mark.parametrize("first", ["fc6", "classifier.0", "pre_logits.fc1"])
def test_vgg16_with_its_fully_connected_layers(first):
    ours = build("face_vgg16", {"layer": "fc7"}).state_dict()
    (write,) = (layout for layout in VGG16_LAYOUTS if f"{first}.weight" in layout.rules(ours))
    inverse = {name: theirs for theirs, (name, _) in write.rules(ours).items()}
    tensors = {inverse[name]: tensor for name, tensor in ours.items()}
    if first != "pre_logits.fc1":
        tensors[f"{first}.weight"] = tensors[f"{first}.weight"].flatten(1)
    found, options = convert("face_vgg16", tensors, "file", {"layer": "fc7"})
    assert options["layer"] == "fc7"
    assert misfit(ours, found) == ""


def test_vgg16_flattens_channels_first():
    rules = VGG16_LAYOUTS[0].rules({})
    turned = rules["fc6.weight"][1](torch.arange(2 * 25_088).reshape(2, -1))
    for out, channel, y, x in ((0, 0, 0, 1), (1, 3, 2, 5), (1, 511, 6, 6)):
        assert turned[out, channel, y, x] == out * 25_088 + channel * 49 + y * 7 + x


def test_hwio_is_the_convolution_of_its_definition():
    rng = np.random.default_rng(0)
    image, weight = rng.normal(size=(6, 5, 2)), rng.normal(size=(3, 2, 2, 4))
    naive = np.zeros((4, 4, 4))
    for y, x, i, j, c, o in np.ndindex(4, 4, 3, 2, 2, 4):
        naive[y, x, o] += image[y + i, x + j, c] * weight[i, j, c, o]
    ours = F.conv2d(torch.from_numpy(image).permute(2, 0, 1)[None], hwio(torch.from_numpy(weight)))
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), naive, atol=1e-12)


def test_the_whole_method_of_kim(tmp_path: Path):
    from voiceface.encoders.pretrained.method_kim import parts
    from voiceface.methods.kim import Kim

    with constant_weights():
        module = parts()
    fill(module)
    out = tmp_path / "kim.safetensors"
    import_weights("kim", public.kim_npz(module.state_dict(), tmp_path), out)
    with torch.device("meta"):
        method = Kim()
    method.to_empty(device="cpu")
    load_into(method, out, "test")
    assert all(torch.equal(t, method.state_dict()[name]) for name, t in module.state_dict().items())
    about = read_header(str(out))
    assert (about.encoder, about.method) == ("", "kim")
    assert about.encoders == {"face": "face_vgg16", "voice": "voice_soundnet8"}


@pytest.mark.slow(reason="writes and reads a file of 66 MB")
@pytest.mark.parametrize("activation", [True, False])
def test_vggvox_whose_batch_norms_are_folded(tmp_path: Path, activation: bool):
    encoder = network("voice_vggvox", {})
    source, out = public.vggvox_folded(encoder.state_dict(), tmp_path), tmp_path / "out.safetensors"
    said = import_weights("voice_vggvox", source, out, {} if activation else {"activation": False})
    assert json.loads(said["options"]) == {"dim": 1024, "activation": activation}
    loaded = voice_encoder("voice_vggvox", activation=activation).eval()
    load_into(loaded, out, "test")
    if activation:
        torch.testing.assert_close(embed(loaded, "voice"), embed(encoder, "voice"), rtol=1e-3, atol=1e-4)
    else:  # fc7's batch norm is folded too: what it gives before the ReLU
        before, full = embed(loaded, "voice"), embed(encoder, "voice")
        torch.testing.assert_close(before.clamp_min(0), full, rtol=1e-3, atol=1e-4)
    lost = {name: tensor.clone() for name, tensor in read_tensors(source).items() if name != "conv3/biases"}
    with pytest.raises(UserError, match="lacks"):
        convert("voice_vggvox", lost, "file", {})


def test_vggvox_without_its_last_batch_norm(tmp_path: Path):
    encoder = network("voice_vggvox", {})
    source, out = public.vggvox_h5(encoder.state_dict(), tmp_path), tmp_path / "out.safetensors"
    import_weights("voice_vggvox", source, out, {"activation": False})
    plain = voice_encoder("voice_vggvox", activation=False)
    load_into(plain, out, "test")
    assert torch.equal(plain.fc7.weight, encoder.fc7.weight)
    assert read_header(str(out)).options == {"dim": 1024, "activation": False}


def test_half_precision_becomes_single(tmp_path: Path):
    encoder = network("voice_soundnet8", {})
    source = public.soundnet_pth({n: t.half() for n, t in encoder.state_dict().items()}, tmp_path)
    import_weights("voice_soundnet8", source, tmp_path / "out.safetensors")
    load_into(encoder, tmp_path / "out.safetensors", "test")
    assert encoder.conv1.weight.dtype == torch.float32


class Evil:
    """Its pickle runs a command when an ordinary unpickler reads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_malicious_file_is_refused_and_not_run(tmp_path: Path):
    marker, out = tmp_path / "marker", tmp_path / "out.safetensors"
    evil = Evil(f"touch {marker}")
    pickle.loads(pickle.dumps(evil))
    assert marker.exists(), "the attack works where nothing guards against it"
    marker.unlink()
    files = [
        public.npy_of(evil, tmp_path / "bare.npy"),
        public.npy_of({"conv1": {"weights": np.zeros(2), "biases": evil}}, tmp_path / "inside.npy"),
        public.npy_of({"conv1": evil}, tmp_path / "newer.npy", protocol=4),
        tmp_path / "evil.pth",
        tmp_path / "older.pth",
        tmp_path / "bare.pth",
        tmp_path / "evil.npz",
    ]
    torch.save({"conv1.weight": evil}, files[3])
    torch.save({"conv1.weight": evil}, files[4], _use_new_zipfile_serialization=False)
    files[5].write_bytes(pickle.dumps(evil, 2))
    np.savez(files[6], a=np.array([evil], object))
    for source in files:
        with pytest.raises(UserError) as caught:
            import_weights("voice_soundnet8", source, out)
        code = "pickled objects" if source.suffix == ".npz" else f"{os.system.__module__}.system"
        said = f"{source}: refused, it holds code ({code}), not only numbers; get weights from their publisher"
        assert str(caught.value) == said
        assert not marker.exists(), source
        assert not out.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_and_a_class_are_refused_as_code(tmp_path: Path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pt")
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "class.pt")
    for name, code in (("script.pt", "TorchScript"), ("class.pt", "torch.nn.modules.linear.Linear")):
        with pytest.raises(UserError, match=re.escape(f"refused, it holds code ({code})")) as caught:
            import_weights("voice_soundnet8", tmp_path / name, tmp_path / "out")
        assert not re.search("weights_only|allow_pickle|safe_globals", str(caught.value))


def test_pickles_of_other_things_are_refused(tmp_path: Path):
    for index, (content, message) in enumerate(
        [
            ({"a": {"b": np.array([None])}}, "a/b holds no numbers; give a file"),
            ({"a": {"b": 3}}, "a/b holds no numbers; give a file"),
            ({"a": {"b": np.array(["x"])}}, "refused, it holds arrays of type U1, not only numbers; get"),
            (["a"], "holds no dictionary of layers with arrays; give a file"),
            (7, "holds no dictionary of layers with arrays; give a file"),
            ({"a": 7}, "holds no dictionary of layers with arrays; give a file"),
            ({"a": {"b": {1, 2}}}, r"refused, it holds code \(\w+\.set\), not only numbers; get"),
        ]
    ):
        source = public.npy_of(content, tmp_path / f"{index}.npy")
        with pytest.raises(UserError, match=rf"{index}\.npy: {message}"):
            import_weights("voice_soundnet8", source, tmp_path / "out")
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(UserError, match="holds an array"):
        import_weights("voice_soundnet8", tmp_path / "plain.npy", tmp_path / "out")


def test_numbers_of_a_pickle_are_what_numpy_reads(tmp_path: Path):
    from voiceface.encoders.pretrained.safe_pickle import read_npy

    rng = np.random.default_rng(0)
    arrays = {
        "c": rng.normal(size=(2, 3)).astype(np.float32),
        "f": np.asfortranarray(rng.normal(size=(3, 4, 2))),
        "big": rng.normal(size=5).astype(">f4"),
        "int": np.arange(6, dtype=np.int64).reshape(2, 3),
        "scalar": np.array(2.5),
    }
    for protocol in (2, 3, 4):
        found = read_npy(public.npy_of({"layer": arrays}, tmp_path / "a.npy", protocol))
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[f"layer/{name}"], array)


def test_a_file_of_another_network_is_told_apart(tmp_path: Path):
    meta = {"ir": build("face_lresnet50_ir", {}).state_dict()}
    with pytest.raises(
        UserError, match=r"f: not weights of face_vgg16: unexpected tensor conv1.*looks like face_lresnet50_ir"
    ):
        convert("face_vgg16", meta["ir"], "f", {})
    source = public.soundnet_npy(network("voice_soundnet8", {}).state_dict(), tmp_path)
    with pytest.raises(
        UserError, match=r"sound8\.npy: .* unexpected tensor conv1/weights; it looks like voice_soundnet8"
    ):
        import_weights("voice_thin_resnet34", source, tmp_path / "out")
    with pytest.raises(UserError, match=r"unexpected tensor odd; give a file that docs"):
        convert("face_vggm", {"odd": torch.zeros(2)}, "f", {})
    assert not (tmp_path / "out").exists()


def test_names_lead_back_to_their_own_network_alone(monkeypatch):
    """No two networks' names are so alike that the hint could name the wrong one."""
    built = {}

    def once(target, options):
        key = json.dumps([target, options])
        if key not in built:
            built[key] = build(target, options)
        return built[key]

    monkeypatch.setattr("voiceface.encoders.pretrained.convert.build", once)
    seen = 0
    for target, options in {json.dumps(case[:2]): case[:2] for case in CASES.values()}.values():
        ours = build(target, options).state_dict()
        for layout in layouts_of(target):
            theirs = {their: ours[name] for their, (name, _) in layout.rules(ours).items() if name in ours}
            fits = {
                other: [_compare(other, one, theirs, {}) for one in layouts_of(other)] for other in list_importers()
            }
            fitting = [other for other, some in fits.items() if any(not f.unknown and not f.lacking for f in some)]
            if len({name for name, _ in layout.rules(ours).values()} & set(ours)) == len(ours):
                assert fitting in ([target], []), (target, layout.what)
                seen += fitting == [target]
    assert seen >= 8


def test_shapes_and_missing_tensors_are_named():
    state = dict(network("voice_soundnet8", {}).state_dict())
    lacking = {name: tensor for name, tensor in state.items() if name != "conv3.bias"}
    with pytest.raises(UserError, match=r"does not fit voice_soundnet8 .*lacks 1 tensors, such as conv3.bias"):
        convert("voice_soundnet8", lacking, "f", {})
    with pytest.raises(UserError, match=r"conv2.weight has shape \(32, 16, 9\), the model wants \(32, 16, 32\)"):
        convert("voice_soundnet8", {**state, "conv2.weight": torch.zeros(32, 16, 9)}, "f", {})
    with pytest.raises(UserError, match="has no option 'clusters'"):
        convert("voice_soundnet8", state, "f", {"clusters": 3})
    empty = {name: torch.zeros_like(t) if "mean" in name else t for name, t in state.items()}
    with pytest.raises(UserError, match="batch norms hold no statistics"):
        convert("voice_soundnet8", empty, "f", {})


CUT = "cut short or damaged; fetch it again"
OTHER = "not a weight file; known are: .pt, .pth, .npy, .npz, .h5, .mat, .safetensors"


def test_broken_files_get_one_line(tmp_path: Path):
    state = network("voice_soundnet8", {}).state_dict()
    whole = [write(state, tmp_path) for write in (public.soundnet_npy, public.soundnet_pth)]
    whole.append(public.keras_file(tmp_path / "a.h5", {"conv1": {"kernel": np.zeros(3000, np.float32)}}))
    np.savez(tmp_path / "a.npz", a=np.zeros(2000))
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "older.pth", _use_new_zipfile_serialization=False)
    whole += [tmp_path / "a.npz", tmp_path / "a.safetensors", tmp_path / "older.pth"]
    contents = {path.read_bytes()[: path.stat().st_size // 2]: CUT for path in whole}
    contents |= {whole[-1].read_bytes()[:cut]: CUT for cut in (1, 60)}
    contents |= dict.fromkeys((b"", b"PK", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", b"MATLAB 5.0 MAT-file"), CUT)
    contents[b"MATLAB 7.3 MAT-file"] = "MATLAB 7.3 files are not read; save it again"
    contents |= dict.fromkeys((b"<html>", b"conv1 = 3\n" * 9, b'{"a": 1}', b"12345678{", b"\x00" * 99), OTHER)
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    contents[buffer.getvalue()] = "holds no state dict; save its state dict alone"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.ckpt", "x")
    contents[packed.getvalue()] = "a zip archive, but not of weights; unpack it"
    for index, (content, message) in enumerate(contents.items()):
        source = tmp_path / f"broken{index}"
        source.write_bytes(content)
        with pytest.raises(UserError) as caught:
            import_weights("voice_soundnet8", source, tmp_path / "out")
        assert str(caught.value).startswith(f"{source}: {message}")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_what_is_no_readable_file_gets_one_line(tmp_path: Path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for source, message in (
        (tmp_path / "nowhere", "no such file; check its name"),
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "circle", "cannot be read (too many levels of symbolic links); name a file that can"),
        (Path(os.devnull), "is a device or a pipe; name a file"),
    ):
        for read, start in ((read_tensors, source), (lambda path: read_header(str(path)), f"--pretrained {source}")):
            with pytest.raises(UserError) as caught:
                read(source)
            assert str(caught.value) == f"{start}: {message}"


def test_only_imported_weights_are_replaced(tmp_path: Path):
    state = network("voice_soundnet8", {}).state_dict()
    source, out = public.soundnet_pth(state, tmp_path), tmp_path / "out.safetensors"
    before = source.read_bytes()
    link, beside = tmp_path / "link.safetensors", tmp_path / "new.safetensors.tmp"
    link.symlink_to(source)
    os.link(source, beside)
    for own in (source, link, beside, beside.with_suffix("")):
        with pytest.raises(UserError, match=rf"{own.name}: is the source itself; name another OUT"):
            import_weights("voice_soundnet8", source, own)
    save_file(state, tmp_path / "plain.safetensors")
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("plain.safetensors", "notes.txt"):
        held = (tmp_path / name).read_bytes()
        with pytest.raises(UserError, match=rf"{name}: exists and is not imported weights; name another OUT"):
            import_weights("voice_soundnet8", source, tmp_path / name)
        assert (tmp_path / name).read_bytes() == held
    import_weights("voice_soundnet8", source, out)
    import_weights("voice_soundnet8", source, out, {"pooling": "half"})
    assert read_header(str(out)).options == {"scale": 256.0, "pooling": "half"}
    assert source.read_bytes() == before


def test_weights_imported_again_keep_their_origin(tmp_path: Path):
    source = public.vggvox_h5(network("voice_vggvox", {}).state_dict(), tmp_path)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    said = import_weights("voice_vggvox", source, first)
    assert import_weights("voice_vggvox", first, second) == said
    tensors = load_file(first)
    assert all(torch.equal(tensors.pop(name), tensor) for name, tensor in load_file(second).items())
    assert not tensors
    again = import_weights("voice_vggvox", first, second, {"activation": False})
    assert json.loads(again.pop("options")) == {"dim": 1024, "activation": False}
    assert again.items() < said.items()
    load_into(voice_encoder("voice_vggvox", activation=False), second, "test")
    with pytest.raises(UserError, match="activation true, but voice_vggvox needs activation false"):
        import_weights("voice_vggvox", second, tmp_path / "third", {"activation": True})
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("voice_soundnet8", {"scale": "1"}, 'scale "1" is not a number; give a number'),
        ("voice_soundnet8", {"scale": True}, "scale true is not a number; give a number"),
        ("voice_soundnet8", {"scale": float("nan")}, "scale NaN is not a number"),
        ("voice_soundnet8", {"pooling": ["half"]}, 'pooling ["half"] is not known; choose one of: global, half'),
        ("voice_soundnet8", {"clusters": 3}, "voice_soundnet8 has no option 'clusters'; it takes: pooling, scale"),
        ("voice_thin_resnet34", {"clusters": 8.0}, "clusters 8.0 is not a whole number; give a whole number"),
        ("voice_vggvox", {"activation": 1}, "activation 1 is not true or false; give true or false"),
        ("face_vggm", {"layer": "fc7"}, "face_vggm has no option 'layer'; it takes none, leave --options out"),
        ("kim", {"layer": "fc7"}, "kim has no option 'layer'; it takes none, leave --options out"),
    ],
)
def test_options_are_checked_by_the_constructor(target, options, message, tmp_path: Path):
    with pytest.raises(UserError) as caught:
        import_weights(target, tmp_path / "file", tmp_path / "out", options)
    assert str(caught.value).startswith(f"--options: {message}")


def test_options_that_the_file_rules_out_are_refused(tmp_path: Path):
    state = network("voice_soundnet8", {}).state_dict()
    assert convert("voice_soundnet8", state, "f", {"scale": 256})[1] == {"scale": 256.0}
    with pytest.raises(
        UserError, match=r"^f: --options: scale 1, but voice_soundnet8 needs scale 256.0 .*leave scale out$"
    ):
        convert("voice_soundnet8", state, "f", {"scale": 1})
    target, options, write = CASES["GhostVLAD"]
    source = write(network(target, options).state_dict(), tmp_path)
    for name, value in (("clusters", 10), ("clusters", -1), ("ghosts", 0)):
        message = rf"--options: {name} {value}, but {target} needs {name} {options[name]} .*leave {name} out"
        with pytest.raises(UserError, match=message):
            import_weights(target, source, tmp_path / "out", {name: value})
    with pytest.raises(UserError, match="cannot be built with options"):
        convert(target, {"odd": torch.zeros(2)}, "f", {"clusters": -300})
    with pytest.raises(UserError, match='variant "evolve", but face_lresnet50_ir needs variant "arcface"'):
        convert("face_lresnet50_ir", build("face_lresnet50_ir", {}).state_dict(), "f", {"variant": "evolve"})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    source = public.soundnet_npy(network("voice_soundnet8", {}).state_dict(), tmp_path)
    done = voiceface("import-weights", "voice_soundnet8", source, "new/voice.safetensors", cwd=tmp_path, status=0)
    assert 'options {"scale": 256.0}' in done.stdout
    assert (tmp_path / "new/voice.safetensors").exists()
    for words, message in (
        (["voice_soundnet8", "nowhere", "out"], "nowhere: no such file"),
        (["voice_soundnet", source, "out"], "voice_soundnet: not known here, did you mean voice_soundnet8?"),
        (["face_small", source, "out"], "face_small: no public weight file is known"),
        (["voice_soundnet8", source, source / "out"], "cannot be written"),
        (["voice_soundnet8", source, "out", "--options", "scale"], "--options scale: expected JSON"),
    ):
        assert main(["import-weights", *map(str, words)]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_every_importer_is_of_a_network():
    encoders = {name for names in list_encoders().values() for name in names}
    assert set(list_importers()) - encoders == {"kim"}


PAGE = Path(__file__).parents[2] / "docs/paper-weights.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the docs are not beside the tests")
def test_the_page_names_every_importer_and_its_options():
    commands = re.findall(r"import-weights (\S+) \S+ \S+(?: --options '(.*)')?", PAGE.read_text())
    assert {target for target, _ in commands} == set(list_importers())
    for target, options in commands:
        build(target, json.loads(options.rstrip("`") or "{}"))
