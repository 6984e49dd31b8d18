"""The voice networks of SVHF-Net and PINs (VGGVox), Kim et al. (SoundNet-8) and DIMNet."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples
from torch import nn
from torch.nn import functional as F

from voiceface.encoders import VoiceEncoder
from voiceface.encoders.audio import mirrored_spectrogram, normalised_log_mel, resample
from voiceface.encoders.voice_dimnet import DIMNetVoice
from voiceface.encoders.voice_soundnet8 import SoundNet8
from voiceface.encoders.voice_vggvox import VGGVox, _central_bucket
from voiceface.utils.errors import UserError


def voice(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, length, generator=torch.Generator().manual_seed(seed)).mul(1000).round().short()


def shifted(net: VoiceEncoder) -> dict[str, torch.Tensor]:
    """Puts an encoder in evaluation mode with batch norms that do something; its state."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (module.running_mean, module.bias):
                assert values is not None
                nn.init.normal_(values, std=0.3)
            nn.init.uniform_(module.weight, 0.5, 2)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval().state_dict()


def batch_norm(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Batch norm over channels (axis 1) from its definition."""
    shape = (-1, *[1] * (x.ndim - 2))
    mean, var, weight, bias = (
        state[f"{name}.{n}"].view(shape) for n in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a / b.abs().max(), b / b.abs().max(), atol=1e-5, rtol=0)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_vggvox_has_the_published_parameters() -> None:
    with torch.device("meta"):
        plain, active, small = VGGVox(activation=False), VGGVox(), VGGVox(dim=256)
    assert parameters(plain) == 16_626_944
    assert parameters(plain) + 1024 * 1251 + 1251 == 17_909_219  # with VoxCeleb1's classifier
    assert parameters(active) == 16_626_944 + 2 * 1024
    assert (plain.dim, active.dim, small.dim, small.fc7.out_features) == (1024, 1024, 256, 256)
    names = [f"conv{i}" for i in range(1, 6)] + ["fc6", "fc7"] + [f"bn{i}" for i in range(1, 8)]
    assert {n.split(".")[0] for n in active.state_dict()} == set(names)
    assert {n.split(".")[0] for n in plain.state_dict()} == set(names) - {"bn7"}


def test_vggvox_pools_the_published_steps() -> None:
    """The widths to which the authors set the last pooling in their test code, from the network itself."""
    with torch.device("meta"):
        net = VGGVox().eval()
        widths = range(100, 1001, 100)
        steps = [net.trunk(torch.empty(1, 512, width), None)[0].shape[2] for width in widths]
    assert steps == [2, 5, 8, 11, 14, 17, 20, 23, 27, 30]


def test_vggvox_counts_the_steps_that_its_layers_give() -> None:
    widths = [100, 103, 106, 109, 115, 120, 127, 130]
    with torch.device("meta"):
        shapes = VGGVox().eval()
        wanted = [shapes.trunk(torch.empty(1, 512, width), None)[0].shape[2] for width in widths]
    with torch.no_grad():
        _, steps = VGGVox(dim=1).eval().trunk(torch.zeros(8, 512, 130), torch.tensor(widths))
    assert steps is not None
    assert steps.tolist() == wanted


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.integers(100, 1150), min_size=1, max_size=4))
def test_vggvox_cuts_the_authors_buckets(frames: list[int]) -> None:
    x = torch.arange(max(frames)).float().expand(len(frames), 2, -1)
    cut, widths = _central_bucket(x, torch.tensor(frames))
    for total, width, row in zip(frames, widths.tolist(), cut, strict=True):
        assert width == max(w for w in range(100, 1001, 100) if w <= total)
        first = max(1, int(np.floor((total - width) / 2 + 0.5)))  # counted from 1, rounded as MATLAB does
        assert torch.equal(row[0, :width], torch.arange(first - 1, first - 1 + width).float())
        assert not row[:, width:].any()
    assert torch.equal(_central_bucket(x, None)[0], _central_bucket(x, torch.full((len(frames),), max(frames)))[0])


@pytest.mark.parametrize("activation", [True, False])
def test_vggvox_matches_a_plain_forward_pass(activation: bool) -> None:
    torch.manual_seed(0)
    net = VGGVox(dim=40, activation=activation)
    state = shifted(net)
    waveform = voice(35_000)  # 217 frames, of which 200 from the 8th on

    def layer(x: torch.Tensor, i: int, stride: int = 1) -> torch.Tensor:
        x = F.conv2d(x, state[f"conv{i}.weight"], state[f"conv{i}.bias"], stride, 1)
        return batch_norm(x, state, f"bn{i}").relu()

    with torch.no_grad():
        x = mirrored_spectrogram(waveform / 32768)[0][:, None, :, 8:208]
        x = F.max_pool2d(layer(x, 1, 2), 3, 2)
        assert x.shape[2:] == (126, 48)
        x = F.max_pool2d(layer(x, 2, 2), 3, 2)
        assert x.shape[2:] == (30, 11)
        x = F.max_pool2d(layer(layer(layer(x, 3), 4), 5), (5, 3), (3, 2))
        assert x.shape[2:] == (9, 5)
        maps = torch.einsum("ocf,bcft->bot", state["fc6.weight"][..., 0], x) + state["fc6.bias"][:, None]
        pooled = batch_norm(maps, state, "bn6").relu().mean(2)
        expected = pooled @ state["fc7.weight"].T + state["fc7.bias"]
        if activation:
            expected = batch_norm(expected, state, "bn7").relu()
        close(net(waveform), expected)


def test_vggvox_items_of_different_buckets_do_not_meet() -> None:
    torch.manual_seed(0)
    net = VGGVox(dim=64, activation=False)
    shifted(net)
    lengths = [52_000, 16_241, 33_333]
    batch = torch.cat([F.pad(voice(n, seed=n), (0, 52_000 - n)) for n in lengths])
    with torch.no_grad():
        together = net(batch, torch.tensor(lengths))
        for row, n, embedding in zip(batch, lengths, together, strict=True):
            close(embedding, net(row[None, :n])[0])


def test_vggvox_trains_on_the_whole_crop() -> None:
    net = VGGVox(dim=8).eval()
    widths: list[int] = []
    net.conv1.register_forward_hook(lambda module, args, out: widths.append(args[0].shape[-1]))
    with torch.no_grad():
        net(voice(48_000))
        net.train()
        net(voice(48_000).expand(2, -1))
        net(voice(48_240).expand(2, -1))
    assert widths == [200, 298, 300]


def test_soundnet_has_the_published_layers() -> None:
    with torch.device("meta"):
        net = SoundNet8().eval()
        steps: list[int] = []
        for module in net.children():
            if isinstance(module, nn.Conv1d):
                # What a layer takes shows the pooling before it, what it gives the convolution.
                module.register_forward_hook(lambda m, args, out: steps.extend([args[0].shape[2], out.shape[2]]))
        assert net.trunk(torch.empty(1, 220_500)).shape == (1, 512, 14)
    distinct = [n for i, n in enumerate(steps) if i == 0 or n != steps[i - 1]]
    assert distinct == [220_500, 110_251, 13_781, 6_891, 861, 431, 216, 109, 27, 14]
    assert parameters(net) == 773_072
    names = {n.split(".")[0] for n in net.state_dict()}
    assert names == {f"conv{i}" for i in range(1, 7)} | {f"batchnorm{i}" for i in range(1, 6)}
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm1d)} == {1e-5}
    assert (net.dim, net.sample_rate) == (512, 22_050)


def test_soundnet_matches_a_plain_forward_pass() -> None:
    torch.manual_seed(0)
    net = SoundNet8()
    state = shifted(net)
    waveform = voice(33_000)
    with torch.no_grad():
        x = resample(waveform.float().repeat(1, 5)[:, :160_000], 22_050)[:, None]
        assert x.shape == (1, 1, 220_500)
        for i, pool in ((1, 8), (2, 8), (3, 1), (4, 1), (5, 4)):
            weight = state[f"conv{i}.weight"]
            x = F.conv1d(x, weight, state[f"conv{i}.bias"], 2, weight.shape[2] // 2)
            x = F.max_pool1d(batch_norm(x, state, f"batchnorm{i}").relu(), pool)
        maps = F.conv1d(x, state["conv6.weight"], state["conv6.bias"], 2, 2)
        close(net(waveform), maps.mean(2))
        half = SoundNet8(pooling="half").eval()
        half.load_state_dict(state)
        close(half(waveform), torch.stack([maps[:, :, 2 * t : 2 * t + 2].mean(2) for t in range(7)], 2).flatten(1))
    assert half.dim == 3584


def test_soundnet_hears_ten_seconds() -> None:
    torch.manual_seed(0)
    net = SoundNet8()
    shifted(net)
    long = voice(170_000)
    with torch.no_grad():
        assert torch.equal(net(long), net(long[:, :160_000]))
        assert not torch.equal(net(long), net(long[:, 1:]))


def test_soundnet_repeats_as_kim_do_but_for_the_seams() -> None:
    """They resample first and repeat then: the samples are the same except within 10 of a seam or the end."""
    waveform = voice(64_000).float()
    ours = resample(waveform.repeat(1, 3)[:, :160_000], 22_050)[0]
    theirs = resample(waveform, 22_050)[0].repeat(3)[:220_500]
    apart = ((ours - theirs).abs() > 0.1).nonzero()
    seams = torch.tensor([88_200, 176_400, 220_500])
    assert len(apart) > 0
    assert (apart - seams).abs().min(dim=1).values.max() <= 10


def test_soundnet_scale_belongs_to_the_weights() -> None:
    torch.manual_seed(0)
    net, other = SoundNet8(), SoundNet8(scale=256.0).eval()
    other.load_state_dict(shifted(net))
    waveform = voice(20_000)
    with torch.no_grad():
        assert not torch.allclose(other(waveform), net(waveform), rtol=0.1)
        other.conv1.weight.mul_(128)
        close(other(waveform), net(waveform))


def test_soundnet_refuses_another_pooling() -> None:
    with pytest.raises(UserError, match="'global' or 'half', not 'max'"):
        SoundNet8(pooling="max")  # type: ignore[arg-type]


@pytest.mark.parametrize(("dim", "count"), [(64, 2_670_720), (256, 3_168_576), (512, 3_832_384)])
def test_dimnet_has_the_published_layers(dim: int, count: int) -> None:
    with torch.device("meta"):
        net = DIMNetVoice(dim).eval()
        for frames, steps in ((300, 10), (800, 25)):
            assert net.trunk(torch.empty(1, 64, frames), None)[0].shape == (1, dim, steps)
    assert parameters(net) == count
    assert net.dim == dim
    assert {n.split(".")[1] for n in net.state_dict()} == {str(i) for i in (0, 1, 3, 4, 6, 7, 9, 10, 12)}


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.integers(98, 400), min_size=1, max_size=3))
def test_dimnet_counts_the_steps_that_its_layers_give(frames: list[int]) -> None:
    net = DIMNetVoice(8).eval()
    with torch.no_grad():
        _, counted = net.trunk(torch.zeros(len(frames), 64, max(frames)), torch.tensor(frames))
        assert counted is not None
        for n, steps in zip(frames, counted.tolist(), strict=True):
            assert net.trunk(torch.zeros(1, 64, n), None)[0].shape[2] == steps


def test_dimnet_matches_a_plain_forward_pass() -> None:
    torch.manual_seed(0)
    net = DIMNetVoice(32)
    state = shifted(net)
    waveform = voice(18_001)
    with torch.no_grad():
        x = normalised_log_mel(waveform / 32768)[0]
        for i in (0, 3, 6, 9):
            x = batch_norm(F.conv1d(x, state[f"layers.{i}.weight"], None, 2, 1), state, f"layers.{i + 1}").relu()
        x = F.conv1d(x, state["layers.12.weight"], state["layers.12.bias"], 2, 1)
        close(net(waveform), x.mean(2))
