import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.face_inception_resnet_v1 import InceptionResNetV1
from voiceface.utils.errors import UserError


def images(count: int, size: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


@pytest.fixture(scope="module")
def net() -> InceptionResNetV1:
    """A network for 99 px in evaluation mode, every batch norm with numbers of its own."""
    torch.manual_seed(0)
    net = InceptionResNetV1(size=99)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        net(images(4, 99))
    return net.eval()


def test_details_are_those_of_the_public_files() -> None:
    with torch.device("meta"):
        net = InceptionResNetV1()
    state = net.state_dict()
    assert len(state) == 714
    assert sum(p.numel() for p in net.parameters()) == 23_482_624
    # With the 8,631 classes of VGGFace2.
    assert sum(p.numel() for p in net.parameters()) + (512 + 1) * 8631 == 27_910_327
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)} == {1e-3}
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.6]
    parts = ["conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a", "conv2d_4b", "repeat_1", "mixed_6a"]
    parts += ["repeat_2", "mixed_7a", "repeat_3", "block8", "last_linear", "last_bn"]
    assert list(dict.fromkeys(key.split(".")[0] for key in state)) == parts
    for block, side in (("repeat_2.0", 7), ("repeat_3.0", 3), ("block8", 3)):
        kernels = [tuple(state[f"{block}.branch1.{i}.conv.weight"].shape[2:]) for i in range(3)]
        assert kernels == [(1, 1), (1, side), (side, 1)]


# Counted by hand: 3x3 convolutions and maxima of stride 2 without padding, and the two 3x3 ones of stride 1.
@pytest.mark.parametrize(("size", "maps"), [(75, (7, 3, 1)), (160, (17, 8, 3)), (224, (25, 12, 5))])
def test_maps_of_each_stage(size: int, maps: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        net = InceptionResNetV1(size=size)
        shapes: dict[str, tuple[int, ...]] = {}
        for name in ("repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"):
            net.get_submodule(name).register_forward_hook(
                lambda module, args, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:]))
            )
        assert net(torch.zeros(2, 3, size, size, dtype=torch.uint8)).shape == (2, 512)
    assert shapes == {
        "repeat_1": (256, maps[0], maps[0]),
        "mixed_6a": (896, maps[1], maps[1]),
        "repeat_2": (896, maps[1], maps[1]),
        "mixed_7a": (1792, maps[2], maps[2]),
        "repeat_3": (1792, maps[2], maps[2]),
        "block8": (1792, maps[2], maps[2]),
    }


def test_network_matches_a_plain_forward_pass(net: InceptionResNetV1) -> None:
    """The whole network again, from the public names of its weights; no weight may be left over."""
    faces = images(2, 99)
    state: dict[str, Tensor] = net.state_dict()
    left = {key for key in state if not key.endswith("num_batches_tracked")}

    def take(key: str) -> Tensor:
        left.remove(key)
        return state[key]

    def norm(x: Tensor, key: str) -> Tensor:
        shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
        numbers = (take(f"{key}.{n}").view(shape) for n in ("running_mean", "running_var", "weight", "bias"))
        mean, var, weight, bias = numbers
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    def conv(x: Tensor, key: str, stride: int = 1, same: bool = True) -> Tensor:
        weight = take(f"{key}.conv.weight")
        padding = tuple(side // 2 for side in weight.shape[2:]) if same else 0
        return norm(F.conv2d(x, weight, stride=stride, padding=padding), f"{key}.bn").relu()

    def chain(x: Tensor, key: str, length: int, stride: int = 1) -> Tensor:
        for i in range(length):
            last = i == length - 1
            x = conv(x, f"{key}.{i}", stride if last else 1, same=not (last and stride == 2))
        return x

    def residual(x: Tensor, key: str, lengths: tuple[int, ...], scale: float, relu: bool = True) -> Tensor:
        branches = [conv(x, f"{key}.branch0")]
        branches += [chain(x, f"{key}.branch{i}", length) for i, length in enumerate(lengths, start=1)]
        y = F.conv2d(torch.cat(branches, 1), take(f"{key}.conv2d.weight"), take(f"{key}.conv2d.bias"))
        return (x + scale * y).relu() if relu else x + scale * y

    with torch.no_grad():
        x = conv((faces.float() - 127.5) / 128, "conv2d_1a", 2, same=False)
        x = conv(conv(x, "conv2d_2a", same=False), "conv2d_2b")
        x = conv(F.max_pool2d(x, 3, 2), "conv2d_3b")
        x = conv(conv(x, "conv2d_4a", same=False), "conv2d_4b", 2, same=False)
        for i in range(5):
            x = residual(x, f"repeat_1.{i}", (2, 3), 0.17)
        first = conv(x, "mixed_6a.branch0", 2, same=False)
        x = torch.cat([first, chain(x, "mixed_6a.branch1", 3, 2), F.max_pool2d(x, 3, 2)], 1)
        for i in range(10):
            x = residual(x, f"repeat_2.{i}", (3,), 0.10)
        branches = [chain(x, f"mixed_7a.branch{i}", length, 2) for i, length in enumerate((2, 2, 3))]
        x = torch.cat([*branches, F.max_pool2d(x, 3, 2)], 1)
        for i in range(5):
            x = residual(x, f"repeat_3.{i}", (3,), 0.20)
        x = residual(x, "block8", (3,), 1.0, relu=False)
        assert x.min() < 0
        expected = norm(x.mean(dim=(2, 3)) @ take("last_linear.weight").T, "last_bn")
        scale = expected.abs().max()
        torch.testing.assert_close(net(faces) / scale, expected / scale, atol=1e-5, rtol=0)
    assert left == set()


def test_normalised_embeddings_have_length_one(net: InceptionResNetV1) -> None:
    unit = InceptionResNetV1(size=99, normalise=True).eval()
    unit.load_state_dict(net.state_dict())
    faces = images(2, 99)
    with torch.no_grad():
        plain = net(faces)
        torch.testing.assert_close(unit(faces), plain / plain.square().sum(1, keepdim=True).sqrt())
    assert plain.norm(dim=1).min() > 2


def test_too_small_images_are_refused() -> None:
    with pytest.raises(UserError, match="size must be at least 75 px, not 74"):
        InceptionResNetV1(size=74)
