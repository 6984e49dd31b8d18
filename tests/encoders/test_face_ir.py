import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders import FaceEncoder, face_encoder
from voiceface.encoders.face_lresnet50_ir import Unit

# Encoder, options, parameters, entries of the state dict, divisor of the pixels.
SECOND = pytest.mark.slow(reason="44 million weights again; SE-ResNet50-IR, which is quick, has the same layout")
VARIANTS = [
    ("face_lresnet50_ir", {}, 43_590_848, 475, 128),
    pytest.param("face_lresnet50_ir", {"variant": "evolve"}, 43_574_976, 349, 127.5, marks=SECOND),
    ("face_seresnet50_ir", {}, 43_797_696, 397, 127.5),
]


def build(name: str, options: dict[str, str]) -> tuple[FaceEncoder, Tensor]:
    """An encoder in evaluation mode, every batch norm and PReLU with numbers of its own, and two images."""
    torch.manual_seed(0)
    net = face_encoder(name, **options)
    faces = torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.6)
    with torch.no_grad():
        net(faces)
    return net.eval(), faces[:2]


@pytest.mark.parametrize(("name", "options", "count", "entries", "divisor"), VARIANTS)
def test_parameters_and_entries_are_the_published(
    name: str, options: dict[str, str], count: int, entries: int, divisor: float
) -> None:
    with torch.device("meta"):
        net = face_encoder(name, **options)
    assert sum(p.numel() for p in net.parameters()) == count
    assert len(net.state_dict()) == entries
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)} == {1e-5}
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.4]
    units = [sum(isinstance(m, Unit) for m in net.get_submodule(f"layer{i}").modules()) for i in (1, 2, 3, 4)]
    assert units == [3, 4, 14, 3]


@pytest.mark.parametrize(("name", "options", "count", "entries", "divisor"), VARIANTS)
def test_network_matches_a_plain_forward_pass(
    name: str, options: dict[str, str], count: int, entries: int, divisor: float
) -> None:
    """The whole network again, from its weights alone; no weight may be left over."""
    net, faces = build(name, options)
    evolve, squeeze = divisor == 127.5, name == "face_seresnet50_ir"
    state: dict[str, Tensor] = net.state_dict()
    left = {key for key in state if not key.endswith("num_batches_tracked")}

    def take(key: str) -> Tensor:
        left.remove(key)
        return state[key]

    def norm(x: Tensor, key: str) -> Tensor:
        shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
        numbers = (take(f"{key}.{n}").view(shape) for n in ("running_mean", "running_var", "weight", "bias"))
        mean, var, weight, bias = numbers
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def prelu(x: Tensor, key: str) -> Tensor:
        return torch.where(x > 0, x, take(f"{key}.weight").view(-1, 1, 1) * x)

    def conv(x: Tensor, key: str, stride: int = 1) -> Tensor:
        weight = take(f"{key}.weight")
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    with torch.no_grad():
        x = prelu(norm(conv((faces.float() - 127.5) / divisor, "conv1"), "bn1"), "prelu")
        for stage, (units, width) in enumerate(((3, 64), (4, 128), (14, 256), (3, 512)), start=1):
            for i in range(units):
                u, stride = f"layer{stage}.{i}", 2 if i == 0 else 1
                y = conv(norm(x, f"{u}.bn1"), f"{u}.conv1")
                y = prelu(y if evolve else norm(y, f"{u}.bn2"), f"{u}.prelu")
                y = norm(conv(y, f"{u}.conv2", stride), f"{u}.bn3")
                if squeeze:
                    gate = take(f"{u}.se.fc1.weight")[:, :, 0, 0] @ y.mean(dim=(2, 3)).T
                    gate = take(f"{u}.se.fc2.weight")[:, :, 0, 0] @ gate.relu()
                    y = y / (1 + (-gate.T[:, :, None, None]).exp())
                if i > 0:
                    x = x + y
                elif evolve and stage == 1:
                    x = x[:, :, ::2, ::2] + y
                else:
                    x = norm(conv(x, f"{u}.downsample.0", 2), f"{u}.downsample.1") + y
            assert x.shape == (2, width, 112 >> stage, 112 >> stage)
        x = norm(x, "bn2").flatten(1) @ take("fc.weight").T + take("fc.bias")
        expected = norm(x, "features")
        scale = expected.abs().max()
        torch.testing.assert_close(net(faces) / scale, expected / scale, atol=1e-5, rtol=0)
    assert left == set()


def test_gradients_reach_every_parameter_of_evolve() -> None:
    net = face_encoder("face_lresnet50_ir", variant="evolve")
    net(torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_colours_may_come_in_the_order_of_the_weights():
    torch.manual_seed(0)
    plain, turned = (face_encoder("face_seresnet50_ir", channels=order).eval() for order in ("rgb", "bgr"))
    turned.load_state_dict(plain.state_dict())
    faces = torch.randint(0, 256, (1, 3, 112, 112), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(turned(faces), plain(faces[:, [2, 1, 0]]))
        assert not torch.allclose(turned(faces), plain(faces))


def test_the_divisor_of_a_file_is_an_option():
    with torch.device("meta"):
        made = [face_encoder("face_lresnet50_ir", **options).divisor for options in ({}, {"divisor": 127.5})]
    assert made == [128, 127.5]
