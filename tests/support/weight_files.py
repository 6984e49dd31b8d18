"""Weight files of the public layouts, written from a state dict of ours: `voiceface.encoders.pretrained` inverted."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
VGG16 = ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3"]
VGG16 += ["conv5_1", "conv5_2", "conv5_3"]


def renamed(state: State, *patterns: tuple[str, str | Callable[[re.Match[str]], str]]) -> State:
    """The state dict under names made by the first pattern that fits each; every name must have one."""
    out = {}
    for name, tensor in state.items():
        (new, *_) = [re.sub(f"^{p}$", r, name) for p, r in patterns if re.fullmatch(p, name)]
        assert new not in out
        out[new] = tensor
    return out


def facenet(state: State, folder: Path) -> Path:
    torch.save({**state, "logits.weight": torch.zeros(9, 512), "logits.bias": torch.zeros(9)}, folder / "vggface2.pt")
    return folder / "vggface2.pt"


def arcface(state: State, folder: Path) -> Path:
    """In PyTorch's older format, as data parallel training saves it, without counters."""
    kept = {f"module.{n}": t for n, t in state.items() if "num_batches" not in n}
    torch.save({"state_dict": kept, "epoch": 3}, folder / "ir.pth", _use_new_zipfile_serialization=False)
    return folder / "ir.pth"


def evolve(state: State, folder: Path) -> Path:
    first = {"1": 0, "2": 3, "3": 7, "4": 21}
    parts = {"bn1": "res_layer.0", "conv1": "res_layer.1", "prelu": "res_layer.2", "conv2": "res_layer.3"}
    parts |= {"bn3": "res_layer.4", "se": "res_layer.5", "downsample": "shortcut_layer"}

    def unit(found: re.Match[str]) -> str:
        return f"body.{first[found[1]] + int(found[2])}.{parts[found[3]]}.{found[4]}"

    tops = {"conv1": "input_layer.0", "bn1": "input_layer.1", "prelu": "input_layer.2", "bn2": "output_layer.0"}
    tops |= {"fc": "output_layer.3", "features": "output_layer.4"}
    out = renamed(
        state,
        (r"layer(\d)\.(\d+)\.(\w+)\.(.+)", unit),
        *((rf"{ours}\.(\w+)", rf"{theirs}.\1") for ours, theirs in tops.items()),
    )
    torch.save(out, folder / "ir50.pth")
    return folder / "ir50.pth"


def _vgg16_places() -> dict[int, str]:
    """Place in `features` of each convolution: each is followed by ReLU, and the last of a block by pooling too."""
    places, place = {}, 0
    for name, after in zip(VGG16, [*VGG16[1:], "conv6"], strict=True):
        places[place] = name
        place += 2 if after[:5] == name[:5] else 3
    return places


def vgg_face(state: State, folder: Path) -> Path:
    places = _vgg16_places()
    pattern = r"trunk\.features\.(\d+)\.(\w+)"
    out = renamed(state, (pattern, lambda found: f"{places[int(found[1])]}.{found[2]}"))
    heads = {f"fc{i}.{part}": torch.zeros(2, 2) for i in (6, 7, 8) for part in ("weight", "bias")}
    torch.save(out | heads, folder / "vgg_face_dag.pth")
    return folder / "vgg_face_dag.pth"


def timm_vgg16(state: State, folder: Path) -> Path:
    out = renamed(state, (r"trunk\.(.*)", r"\1"))
    save_file(out | {"head.fc.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    return folder / "model.safetensors"


def torchvision_vgg16(state: State, folder: Path) -> Path:
    out = renamed(state, (r"trunk\.(.*)", r"\1"))
    torch.save(out | {f"classifier.{i}.weight": torch.zeros(2, 2) for i in (0, 3, 6)}, folder / "vgg16.pth")
    return folder / "vgg16.pth"


def keras_file(path: Path, layers: dict[str, dict[str, np.ndarray]]) -> Path:
    """HDF5 as Keras' `save_weights` writes it; layers without weights have a group too."""
    with h5py.File(path, "w") as file:
        layers = {"input": {}, **layers}
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, parts in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in parts]
            for part, array in parts.items():
                group.create_dataset(f"{name}/{part}:0", data=array)
    return path


def _keras_norm(state: State, name: str) -> dict[str, np.ndarray]:
    words = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {their: state[f"{name}.{our}"].numpy() for their, our in words.items()}


def _hwio(weight: torch.Tensor) -> np.ndarray:
    return np.einsum("oihw->hwio", weight.numpy())


def ghostvlad(state: State, folder: Path) -> Path:
    layers = {"conv1_1/3x3_s1": {"kernel": _hwio(state["stem.weight"])}}
    layers["conv1_1/3x3_s1/bn"] = _keras_norm(state, "stem_bn")
    index = 0
    for stage, blocks in ((2, "ab"), (3, "abc"), (4, "abc"), (5, "abc")):
        for block in blocks:
            theirs, ours = f"conv{stage}_{block}", f"blocks.{index}"
            pairs = [("1x1_reduce", "reduce", "reduce_bn"), ("3x3", "conv", "conv_bn")]
            pairs += [("1x1_increase", "increase", "increase_bn")]
            pairs += [("1x1_proj", "shortcut.0", "shortcut.1")] if block == "a" else []
            for name, convolution, norm in pairs:
                layers[f"{theirs}_{name}"] = {"kernel": _hwio(state[f"{ours}.{convolution}.weight"])}
                layers[f"{theirs}_{name}/bn"] = _keras_norm(state, f"{ours}.{norm}")
            index += 1
    for theirs, ours in (("x_fc", "x_fc"), ("gvlad_center_assignment", "assignment")):
        layers[theirs] = {"kernel": _hwio(state[f"{ours}.weight"]), "bias": state[f"{ours}.bias"].numpy()}
    layers["gvlad_pool"] = {"centers": state["vlad.centres"].numpy()}
    layers["fc6"] = {"kernel": np.einsum("oi->io", state["fc6.weight"].numpy()), "bias": state["fc6.bias"].numpy()}
    layers["prediction"] = {"kernel": np.zeros((512, 3), np.float32)}
    return keras_file(folder / "weights.h5", layers)


def _soundnet(state: State) -> dict[str, dict[str, np.ndarray]]:
    layers = {}
    for i in range(1, 7):
        weight = np.einsum("oik->kio", state[f"conv{i}.weight"].numpy())[:, None]
        layers[f"conv{i}"] = {"weights": weight, "biases": state[f"conv{i}.bias"].numpy()}
        ours = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
        for their, our in ours.items():
            six = np.zeros(512, np.float32)
            layers[f"conv{i}"][their] = state[f"batchnorm{i}.{our}"].numpy() if i < 6 else six
    return {**layers, "conv7": {"weights": np.zeros(2)}, "conv8_2": {"biases": np.zeros(2)}}


def soundnet_npy(state: State, folder: Path) -> Path:
    np.save(folder / "sound8.npy", _soundnet(state), allow_pickle=True)
    return folder / "sound8.npy"


def npy_of(content: object, path: Path, protocol: int = 2) -> Path:
    """A npy file of one object, pickled by an older protocol, in which the arrays' bytes are text."""
    box = np.empty((), object)
    box[()] = content
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(box, file, protocol=protocol)
    return path


def soundnet_old_npy(state: State, folder: Path) -> Path:
    return npy_of(_soundnet(state), folder / "sound8.npy")


def soundnet_pth(state: State, folder: Path) -> Path:
    out = {n: t[..., None] if n.startswith("conv") and t.ndim == 3 else t for n, t in state.items()}
    out |= {
        "batchnorm6.running_mean": torch.zeros(512),
        "conv7.weight": torch.zeros(2),
        "conv8_objs.bias": torch.zeros(2),
    }
    torch.save(out, folder / "soundnet8_final.pth")
    return folder / "soundnet8_final.pth"


def vggvox_pth(state: State, folder: Path) -> Path:
    out = renamed(state, (r"(fc7\..*)", r"classifier.\1"), (r"(.*)", r"features.\1"))
    torch.save(out | {"classifier.fc8.bias": torch.zeros(3)}, folder / "VGGM300.pth")
    return folder / "VGGM300.pth"


def _vggvox(state: State) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Each layer's name, its batch norm's, its filters (height, width, in, out) and biases."""
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    weights = [
        state[f"{name}.weight"].reshape(*state[f"{name}.weight"].shape, *(1, 1)[: 4 - state[f"{name}.weight"].ndim])
        for name in names
    ]
    return [
        (name, f"bn{i}", _hwio(weight), state[f"{name}.bias"].numpy())
        for i, (name, weight) in enumerate(zip(names, weights, strict=True), 1)
    ]


def vggvox_h5(state: State, folder: Path) -> Path:
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, norm, filters, biases in _vggvox(state):
        layers[name] = {"kernel": filters, "bias": biases}
        layers[norm] = _keras_norm(state, norm)
    layers["fc8"] = {"kernel": np.zeros((1, 1, 1024, 3), np.float32), "bias": np.zeros(3, np.float32)}
    return keras_file(folder / "weights.h5", layers)


def _cell(items: list[object]) -> np.ndarray:
    cell = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        cell[0, i] = item
    return cell


def _norm_parts(state: State, norm: str) -> list[object]:
    """Scale, shift, and (mean, sqrt(variance + epsilon))."""
    variance = state[f"{norm}.running_var"].double().numpy() + 1e-5
    moments = np.stack([state[f"{norm}.running_mean"].double().numpy(), np.sqrt(variance)], axis=1).astype(np.float32)
    return [state[f"{norm}.weight"].numpy()[:, None], state[f"{norm}.bias"].numpy()[:, None], moments]


def vggvox_simplenn(state: State, folder: Path) -> Path:
    layers: list[object] = []
    for name, norm, filters, biases in _vggvox(state):
        layers.append({"name": name, "type": "conv", "weights": _cell([filters, biases[None]])})
        if f"{norm}.weight" in state:
            layers.append({"name": norm, "type": "bnorm", "weights": _cell(_norm_parts(state, norm))})
        layers.append({"name": f"relu{name}", "type": "relu"})
    layers.append({"name": "fc8", "type": "conv", "weights": _cell([np.zeros((1, 1, 1024, 3)), np.zeros((1, 3))])})
    scipy.io.savemat(folder / "vggvox_ident_net.mat", {"net": {"layers": _cell(layers), "meta": {"x": 1.0}}})
    return folder / "vggvox_ident_net.mat"


def vggvox_folded(state: State, folder: Path) -> Path:
    """Batch norms folded into the convolutions, and 19 layers up to fc8, as the authors' demo counts them."""
    layers: list[object] = []
    pooled = ("conv1", "conv2", "conv5", "fc6")
    for name, norm, filters, biases in _vggvox(state):
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        shift = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
        parts = [filters * scale.numpy(), (scale.numpy() * biases + shift.numpy())[None]]
        layers += [{"name": name, "type": "conv", "weights": _cell(parts)}, {"name": f"relu{name}", "type": "relu"}]
        layers += [{"name": f"pool{name}", "type": "pool"}] if name in pooled else []
    layers.append({"name": "fc8", "type": "conv", "weights": _cell([np.zeros((1, 1, 1024, 3)), np.zeros((1, 3))])})
    assert len(layers) == 19
    assert layers[15]["name"] == "poolfc6"
    scipy.io.savemat(folder / "vggvox_ident_net.mat", {"net": {"layers": _cell(layers), "meta": {"x": 1.0}}})
    return folder / "vggvox_ident_net.mat"


def vggvox_dagnn(state: State, folder: Path) -> Path:
    """Two streams with shared parameters, named as some of MatConvNet's examples do."""
    params: list[tuple[str, object]] = []
    layers: list[tuple[str, list[object]]] = []
    for name, norm, filters, biases in _vggvox(state):
        params += [(f"{name}f", filters), (f"{name}b", biases[None])]
        params += zip([f"{norm}f", f"{norm}b", f"{norm}m"], _norm_parts(state, norm), strict=True)
        layers += [(name, [f"{name}f", f"{name}b"]), (norm, [f"{norm}f", f"{norm}b", f"{norm}m"]), (f"r{name}", [])]
    layers += [(f"{name}_two", names) for name, names in layers]
    table = np.empty((1, len(params)), [("name", object), ("value", object)])
    table[0] = params
    graph = np.empty((1, len(layers)), [("name", object), ("params", object)])
    graph[0] = [(name, _cell(names)) for name, names in layers]
    scipy.io.savemat(folder / "vggvox_ver_net.mat", {"netStruct": {"layers": graph, "params": table}})
    return folder / "vggvox_ver_net.mat"


def kim_npz(state: State, folder: Path) -> Path:
    places = _vgg16_places()
    out = {"beta1_power": np.float32(0.9), "global_step": np.int64(240_000)}
    for name, tensor in state.items():
        kind, layer, part = re.fullmatch(r"(face|voice)_(?:encoder|head)\.(.*)\.(\w+)", name).groups()
        array = tensor.numpy()
        words = {"weight": "weights", "bias": "biases"}
        if layer.startswith("batchnorm"):
            words = {"weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "variance"}
            layer = layer.replace("batchnorm", "bn")
        elif layer in ("0", "2"):
            layer = {"0": "fc1", "2": "fc2"}[layer]
        elif kind == "face":
            layer = places[int(layer.removeprefix("trunk.features."))]
        if part in words:
            turned = {2: "oi->io", 3: "oik->kio", 4: "oihw->hwio"}.get(array.ndim, "a->a")
            array = np.einsum(turned, array)
            key = f"{kind}/{layer}/{words[part]}"
            out[key] = array[:, None] if array.ndim == 3 else array
            out[f"{key}/Adam"] = np.zeros(1)
    np.savez(folder / "v2f.npz", **out)
    return folder / "v2f.npz"
