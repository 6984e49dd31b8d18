import pytest
import torch
from network_support import constant_weights
from torch import nn

from voiceface.encoders import FaceEncoder, face_encoder, list_encoders

# Parameters, size and embedding length; those of the paper's networks are the published ones.
FACTS = {
    "face_lresnet50_ir": (43_590_848, 112, 512),
    "face_vggm": (98_831_680, 224, 4096),
    "face_seresnet50": (28_088_024 - (2048 + 1) * 1000, 224, 2048),
    "face_vgg16": (14_714_688, 224, 512),
    "face_seresnet50_ir": (43_797_696, 112, 512),
    "face_inception_resnet_v1": (23_482_624, 160, 512),
    "face_timm": (11_689_512 - (512 + 1) * 1000, 224, 512),
    "face_dimnet": (None, 128, 64),
    "face_small": (None, 64, 128),
}
LARGE = pytest.mark.slow(reason="passes through a network of a paper's size; the quick ones are two of them")
NAMES = [name for name in list_encoders()["face"] if name != "face_features"]  # no network
PARAMS = [pytest.param(n, marks=[] if n in ("face_small", "face_lresnet50_ir") else LARGE) for n in NAMES]


def images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module", params=PARAMS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(name: str) -> FaceEncoder:
    """An encoder in evaluation mode, its batch norms set by one batch, so that its maps do not fade with depth."""
    torch.manual_seed(0)
    net = face_encoder(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(images(2, net.size, seed=1))
    return net.eval()


@pytest.mark.parametrize("known", FACTS)
def test_parameters_size_and_dim(known: str) -> None:
    count, size, dim = FACTS[known]
    with torch.device("meta"):
        net = face_encoder(known)
    assert (net.size, net.dim, net.margin) == (size, dim, 1.0)
    assert count is None or sum(p.numel() for p in net.parameters()) == count


def test_small_is_small() -> None:
    assert sum(p.numel() for p in face_encoder("face_small").parameters()) < 1_500_000


def test_output_and_independence_of_the_batch(encoder: FaceEncoder) -> None:
    faces = images(3, encoder.size)
    with torch.no_grad():
        together = encoder(faces)
        alone = torch.cat([encoder(face[None]) for face in faces[:2]])
        last = encoder(faces[:2].contiguous(memory_format=torch.channels_last))
    assert together.shape == (3, encoder.dim)
    assert together.dtype == torch.float32
    scale = together.abs().max()
    torch.testing.assert_close(alone / scale, together[:2] / scale, atol=5e-5, rtol=0)
    torch.testing.assert_close(last / scale, together[:2] / scale, atol=5e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 2e-3 * scale


def test_autocast_gives_nearly_the_same_in_float32_whatever_the_batch(encoder: FaceEncoder) -> None:
    faces = images(2, encoder.size)
    with torch.no_grad():
        exact = encoder(faces[:1])
        with torch.autocast("cpu", torch.bfloat16):
            together, alone = encoder(faces), encoder(faces[:1])
    assert together.dtype == alone.dtype == torch.float32
    assert (alone - exact).norm() < 0.1 * exact.norm()
    torch.testing.assert_close(together[:1], alone, atol=2e-2 * float(exact.abs().max()), rtol=0)


@pytest.mark.parametrize("name", [p for p in PARAMS if p.values != ("face_vggm",)], indirect=True, scope="module")
def test_state_dict_round_trip(name: str, encoder: FaceEncoder) -> None:
    with constant_weights():
        copy = face_encoder(name).eval()
    faces = images(1, encoder.size)
    with torch.no_grad():
        expected = encoder(faces)
        assert not torch.equal(copy(faces), expected)
        copy.load_state_dict(encoder.state_dict())
        assert torch.equal(copy(faces), expected)


def test_wrong_faces_are_refused() -> None:
    net = face_encoder("face_small")
    with pytest.raises(ValueError, match=r"uint8 faces of shape \(B, 3, 64, 64\), not uint8 of shape \(2, 3, 56, 56\)"):
        net(images(2, 56))
    with pytest.raises(ValueError, match="not float32"):
        net(images(2, 64).float())


def test_gradients_reach_every_parameter(name: str) -> None:
    with constant_weights():
        net = face_encoder(name)
    net(images(2, net.size)).square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


@pytest.mark.parametrize(
    ("known", "mean", "divisor", "maps"),
    [
        ("face_lresnet50_ir", [127.5] * 3, 128, [112, 56, 28, 14, 7]),
        ("face_seresnet50_ir", [127.5] * 3, 127.5, [112, 56, 28, 14, 7]),
        ("face_inception_resnet_v1", [127.5] * 3, 128, [79, 77, 38, 36, 17, 8, 3]),
        ("face_dimnet", [127.5] * 3, 127.5, [64, 32, 16, 8, 4]),
        ("face_small", [127.5] * 3, 128, [32, 16, 8, 4]),
        ("face_vggm", [131.45377, 103.98748, 91.46235], 1, [109, 26, 13, 1]),
        ("face_seresnet50", [131.0912, 103.8827, 91.4953], 1, [112, 56, 28, 14, 7]),
    ],
)
def test_pixels_are_scaled_and_maps_shrink_as_published(
    known: str, mean: list[float], divisor: float, maps: list[int]
) -> None:
    with constant_weights():
        net = face_encoder(known).eval()
    inputs: list[torch.Tensor] = []
    widths: list[int] = []

    def note(module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        inputs.append(args[0])
        widths.append(out.shape[-1])

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    faces = images(1, net.size)
    with torch.no_grad():
        net(faces)
    torch.testing.assert_close(inputs[0], (faces - torch.tensor(mean).view(3, 1, 1)) / divisor)
    assert [w for w in dict.fromkeys(widths) if w > 1 or 1 in maps] == maps


def test_small_overfits_eight_people() -> None:
    torch.manual_seed(0)
    net = face_encoder("face_small")
    head = nn.Linear(net.dim, 8)
    faces, labels = images(8, 64).repeat(2, 1, 1, 1), torch.arange(8).repeat(2)
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(15):
        loss = nn.functional.cross_entropy(head(net(faces)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
