import socket

import pytest
import timm
import torch
from torch import Tensor

from voiceface.encoders import face_encoder, list_encoders, voice_encoder
from voiceface.encoders.face_timm import Timm
from voiceface.utils.errors import UserError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("an encoder asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_shorthand_is_the_encoder_with_that_model() -> None:
    short = face_encoder("timm/test_resnet", size=96)
    torch.manual_seed(0)
    long = face_encoder("face_timm", model="test_resnet", size=96)
    assert isinstance(short, Timm)
    assert short.size == 96
    short.load_state_dict(long.state_dict())
    faces = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(short.eval()(faces), long.eval()(faces))
    assert "face_timm" in list_encoders()["face"]
    assert not any("/" in name for name in list_encoders()["face"])


# Published size, mean and deviation of each network's own weights, and the length of its pooled features; of those of
# vgg16 and mobilenetv3 the last is the width of a further layer, not of the last map.
@pytest.mark.parametrize(
    ("model", "size", "dim", "mean", "deviation"),
    [
        ("resnet18", 224, 512, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("resnet18d.ra4_e3600_r224_in1k", 224, 512, [0.5] * 3, [0.5] * 3),
        ("resnet18.a3_in1k", 160, 512, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("vit_tiny_patch16_224", 224, 192, [0.5] * 3, [0.5] * 3),
        ("mobilenetv3_small_100", 224, 1024, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_size_dim_and_pixels_are_the_models(
    model: str, size: int, dim: int, mean: list[float], deviation: list[float]
) -> None:
    net = face_encoder(f"timm/{model}").eval()
    assert isinstance(net, Timm)
    assert (net.size, net.dim) == (size, dim)
    inputs: list[Tensor] = []
    net.trunk.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    faces = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        assert net(faces).shape == (1, dim)
    expected = (faces / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)
    torch.testing.assert_close(inputs[0], expected, atol=1e-5, rtol=1e-5)


def test_another_size() -> None:
    net = face_encoder("timm/vit_tiny_patch16_224", size=48)
    assert net.training
    assert net(torch.zeros(2, 3, 48, 48, dtype=torch.uint8)).shape == (2, 192)
    with pytest.raises(UserError, match="test_maxvit does not take images of 112 px; its own size is 160"):
        face_encoder("timm/test_maxvit", size=112)


@pytest.mark.skipif(not timm.is_model("vit_base_patch16_sapiens2"), reason="a network of newer versions of timm")
def test_oblong_images_are_refused() -> None:
    with pytest.raises(UserError, match="are 1024x768 px, not square: give a size"):
        face_encoder("timm/vit_base_patch16_sapiens2")


def test_checking_a_size_leaves_no_trace() -> None:
    torch.manual_seed(0)
    checked = face_encoder("timm/test_resnet", size=160)
    torch.manual_seed(0)
    plain = face_encoder("timm/test_resnet")
    assert checked.training
    assert all(module.training for module in checked.modules())
    for name, value in plain.state_dict().items():
        assert torch.equal(checked.state_dict()[name], value), name


def test_unknown_models_get_the_nearest() -> None:
    with pytest.raises(UserError, match="timm has no network 'resnet81'; the nearest are: resnet18, "):
        face_encoder("timm/resnet81")
    with pytest.raises(UserError, match=r"timm has no network 'resnet18\.a1'; the nearest are: .*resnet18\.a1_in1k"):
        face_encoder("face_timm", model="resnet18.a1")
    with pytest.raises(UserError, match=r"timm has no network 'qqqqqqqq'$"):
        face_encoder("timm/qqqqqqqq")
    with pytest.raises(UserError, match="leave out the option model='resnet34'"):
        face_encoder("timm/resnet18", model="resnet34")
    with pytest.raises(UserError, match="no voice encoder 'timm/resnet18'"):
        voice_encoder("timm/resnet18")


@pytest.mark.parametrize("scheme", ["hf-hub:", "hf_hub:", "local-dir:"])
def test_addresses_are_not_models(scheme: str) -> None:
    with pytest.raises(UserError, match="timm has no network"):
        face_encoder(f"timm/{scheme}timm/resnet18")
