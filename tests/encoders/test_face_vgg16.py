import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders import face_encoder
from voiceface.encoders.face_vgg16 import VGG16
from voiceface.utils.errors import UserError

CONVOLUTIONS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
FACES = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net() -> VGG16:
    torch.manual_seed(0)
    net = VGG16().eval()
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize(
    ("options", "count", "dim"),
    [
        ({}, 14_714_688, 512),
        ({"pooling": "half"}, 14_714_688, 25_088),
        # Without the 1,000 classes of the whole network.
        ({"layer": "fc7"}, 138_357_544 - (4096 + 1) * 1000, 4096),
    ],
)
def test_parameters_names_and_dim(options: dict[str, str], count: int, dim: int) -> None:
    with torch.device("meta"):
        net = face_encoder("face_vgg16", **options)
        out = net(torch.zeros(2, 3, 224, 224, dtype=torch.uint8))
        out.sum().backward()
    assert out.shape == (2, dim) == (2, net.dim)
    assert sum(p.numel() for p in net.parameters()) == count
    layers = [f"features.{i}" for i in CONVOLUTIONS]
    layers += ["pre_logits.fc1", "pre_logits.fc2"] if "layer" in options else []
    assert list(net.state_dict()) == [f"trunk.{layer}.{n}" for layer in layers for n in ("weight", "bias")]
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def plain_map(net: VGG16, x: Tensor) -> Tensor:
    """The map after conv5_3 and its ReLU, from the weights alone."""
    state = net.state_dict()
    for i in CONVOLUTIONS:
        if i in (5, 10, 17, 24):
            x = F.max_pool2d(x, 2)
        x = F.conv2d(x, state[f"trunk.features.{i}.weight"], state[f"trunk.features.{i}.bias"], padding=1).relu()
    return x


def test_conv5_3_in_the_pixels_of_kim_is_a_plain_forward_pass(net: VGG16) -> None:
    red, green, blue = FACES.float().unbind(1)
    with torch.no_grad():
        expected = plain_map(net, torch.stack([blue - 104, green - 117, red - 124], dim=1))
        half = VGG16(pooling="half").eval()
        half.load_state_dict(net.state_dict())
        assert expected.shape == (1, 512, 14, 14)
        scale = expected.mean()
        torch.testing.assert_close(net(FACES) / scale, expected.mean(dim=(2, 3)) / scale)
        corner = expected[0, :, 2:4, 4:6].sum(dim=(1, 2)) / 4
        torch.testing.assert_close(half(FACES).view(512, 7, 7)[:, 1, 2] / scale, corner / scale)


def test_fc7_goes_on_through_the_last_pooling() -> None:
    torch.manual_seed(0)
    net = VGG16(layer="fc7", pixels="vggface").eval()
    state = net.state_dict()
    with torch.no_grad():
        x = plain_map(net, FACES - torch.tensor([129.186, 104.762, 93.594]).view(3, 1, 1))
        x = F.max_pool2d(x, 2).flatten(1)
        for layer in ("fc1", "fc2"):
            weight, bias = (state[f"trunk.pre_logits.{layer}.{n}"] for n in ("weight", "bias"))
            x = (x @ weight.flatten(1).T + bias).relu()
        out = net(FACES)
    torch.testing.assert_close(out / x.max(), x / x.max())
    assert out.min() == 0


@pytest.mark.parametrize("pixels", ["vggface", "imagenet"])
def test_pixels_of_other_weights(pixels: str) -> None:
    net = face_encoder("face_vgg16", pixels=pixels)
    assert isinstance(net, VGG16)
    inputs: list[Tensor] = []
    net.trunk.features[0].register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    # Only the input counts here, not the map.
    net.trunk.features = net.trunk.features[:1]
    net(FACES)
    rgb = FACES.double()
    if pixels == "vggface":
        expected = rgb - torch.tensor([129.186, 104.762, 93.594]).view(3, 1, 1)
    else:
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
        expected = (rgb / 255 - mean) / deviation
    torch.testing.assert_close(inputs[0], expected.float(), atol=1e-4, rtol=1e-5)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UserError, match="face_vgg16: layer 'fc6' is not one of: conv5_3, fc7"):
        face_encoder("face_vgg16", layer="fc6")
    with pytest.raises(UserError, match="pooling 'half' is of layer conv5_3, not of fc7"):
        face_encoder("face_vgg16", layer="fc7", pooling="half")
