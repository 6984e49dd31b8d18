import copy
import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_support import constant_weights
from tests_support import examples
from torch import nn
from torch.nn import functional as F

from voiceface.encoders import VoiceEncoder, list_encoders, voice_encoder
from voiceface.encoders.audio import magnitude_spectrogram
from voiceface.encoders.voice_thin_resnet34 import ThinResNet34
from voiceface.utils.errors import UserError

LARGE = pytest.mark.slow(reason="passes through a network of a paper's size; the quick ones are two of them")
NAMES = [name for name in list_encoders()["voice"] if name != "voice_features"]  # no network
PARAMS = [pytest.param(n, marks=[] if n in ("voice_small", "voice_thin_resnet34") else LARGE) for n in NAMES]


def voices(lengths: list[int], seed: int = 0) -> torch.Tensor:
    """Padded int16 noise, each with a loudness and a tilt of its own."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths, strict=True):
        noise = torch.randn(length, generator=generator)
        loudness, tilt = torch.rand(2, generator=generator)
        row[:length] = 10 ** (1 + 2 * loudness) * (noise - tilt * noise.roll(1))
    return batch.round().short()


def build(name: str, **options: int) -> VoiceEncoder:
    """An encoder in evaluation mode whose batch norms shift, so that padding would show."""
    return copy.deepcopy(_built(name, **options))


@functools.cache
def _built(name: str, **options: int) -> VoiceEncoder:
    torch.manual_seed(0)
    net = voice_encoder(name, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.normal_(module.bias, std=0.3)
    return net.eval()


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a / b.abs().max(), b / b.abs().max(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("clusters", "ghosts", "count"), [(8, 0, 7_656_200), (8, 2, 7_664_394), (10, 2, 8_196_876)])
def test_thin_resnet34_has_the_published_parameters(clusters: int, ghosts: int, count: int) -> None:
    with torch.device("meta"):
        net = ThinResNet34(clusters, ghosts)
    assert sum(p.numel() for p in net.parameters()) == count
    trunk = [p for n, p in net.named_parameters() if n.startswith(("stem", "blocks"))]
    assert sum(p.numel() for p in trunk) == 3_690_240
    assert (net.dim, net.sample_rate) == (512, 16_000)


def test_thin_resnet34_details() -> None:
    torch.manual_seed(0)
    net = ThinResNet34(clusters=3, ghosts=1)
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    biased = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert biased == ["x_fc", "assignment"]
    for parameter in (net.x_fc.weight, net.assignment.weight, net.vlad.centres, net.stem.weight):
        rows = parameter.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)) if len(rows) <= rows.shape[1] else rows @ rows.T)
    map_, _ = net.trunk(torch.zeros(1, 257, 250), None)
    assert map_.shape == (1, 512, 7, 16)


@pytest.mark.parametrize("ghosts", [0, 2])
def test_vlad_matches_its_definition(ghosts: int) -> None:
    torch.manual_seed(0)
    net = ThinResNet34(clusters=3, ghosts=ghosts)
    x, scores = torch.randn(2, 512, 5), torch.randn(2, 3 + ghosts, 5)
    pooled = net.vlad(x, scores, torch.tensor([5, 2])).view(2, 3, 512)
    for item, steps in ((0, 5), (1, 2)):
        for cluster in range(3):
            total = torch.zeros(512)
            for t in range(steps):
                weights = scores[item, :, t].exp()
                total += weights[cluster] / weights.sum() * (x[item, :, t] - net.vlad.centres[cluster])
            torch.testing.assert_close(pooled[item, cluster], total / total.norm(), atol=1e-5, rtol=1e-4)


def test_thin_resnet34_matches_a_plain_forward_pass() -> None:
    """The whole network again, from its weights alone, on one utterance followed by its reversal."""
    net = build("voice_thin_resnet34", clusters=4, ghosts=2)
    assert isinstance(net, ThinResNet34)
    waveform = voices([17_000])
    scaled = waveform[0] / 32768
    x = magnitude_spectrogram(torch.cat([scaled, scaled.flip(0)])[None])[0][:, None]
    state = net.state_dict()

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        numbers = (state[f"{norm}.{n}"][:, None, None] for n in ("running_mean", "running_var", "weight", "bias"))
        mean, var, weight, bias = numbers
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    with torch.no_grad():
        x = F.max_pool2d(layer(x, "stem", "stem_bn", padding=3).relu(), 2)
        for i in range(11):
            b, stride = f"blocks.{i}", 2 if i in (2, 5, 8) else 1
            y = layer(x, f"{b}.reduce", f"{b}.reduce_bn", stride).relu()
            y = layer(y, f"{b}.conv", f"{b}.conv_bn", padding=1).relu()
            y = layer(y, f"{b}.increase", f"{b}.increase_bn")
            x = (y + (layer(x, f"{b}.shortcut.0", f"{b}.shortcut.1", stride) if i in (0, 2, 5, 8) else x)).relu()
        x = F.max_pool2d(x, (3, 1), (2, 1))
        share = F.conv2d(x, state["assignment.weight"], state["assignment.bias"])[0, :, 0].softmax(0)
        local = F.conv2d(x, state["x_fc.weight"], state["x_fc.bias"])[0, :, 0].relu()
        residual = [(share[k] * (local - state["vlad.centres"][k][:, None])).sum(1) for k in range(4)]
        pooled = torch.cat([r / r.norm() for r in residual])
        expected = (state["fc6.weight"] @ pooled + state["fc6.bias"]).relu()
        close(net(waveform)[0], expected)


def test_small_is_small() -> None:
    assert sum(p.numel() for p in voice_encoder("voice_small").parameters()) < 1_500_000


@pytest.mark.parametrize("name", PARAMS)
def test_embedding_does_not_depend_on_the_batch(name: str) -> None:
    net = build(name)
    lengths = [3_200, 24_000, 16_789, 20_481]
    batch = F.pad(voices(lengths), (0, 500))
    with torch.no_grad():
        together = net(batch, torch.tensor(lengths))
        alone = torch.cat([net(row[None, :n]) for row, n in zip(batch, lengths, strict=True)])
        pair = net(batch[:2], torch.tensor(lengths[:2]))
    assert together.shape == (4, net.dim)
    assert together.dtype == torch.float32
    close(together, alone)
    close(together[:2], pair)
    # Had the padding mattered, it would have shown: the same samples, taken as all valid, give something else.
    with torch.no_grad():
        assert (net(batch) - alone).abs().max() > 1e-3 * alone.abs().max()


@settings(max_examples=examples(12), deadline=None)
@given(st.lists(st.integers(1, 26_000), min_size=2, max_size=4))
def test_small_is_independent_of_the_batch_at_any_lengths(lengths: list[int]) -> None:
    net = build("voice_small")
    batch = voices(lengths)
    with torch.no_grad():
        together = net(batch, torch.tensor(lengths))
        for row, length, embedding in zip(batch, lengths, together, strict=True):
            close(embedding, net(row[None, :length])[0])


@pytest.mark.parametrize("name", PARAMS)
def test_int16_and_float_and_full_lengths_agree(name: str) -> None:
    net = build(name)
    batch = voices([18_000, 18_000])
    with torch.no_grad():
        expected = net(batch)
        assert torch.equal(net(batch.float() / 32768), expected)
        assert torch.equal(net(batch, torch.tensor([18_000, 18_000])), expected)
        assert torch.equal(net(F.pad(batch, (0, 999)), torch.tensor([18_000, 18_000])), expected)


@pytest.mark.parametrize("name", PARAMS)
def test_short_utterances_are_repeated(name: str) -> None:
    net = build(name)
    short = voices([3_200])
    with torch.no_grad():
        embedding = net(short)
        close(embedding, net(short.repeat(1, 5)))
    assert embedding.isfinite().all()


@pytest.mark.parametrize("name", PARAMS)
def test_silence_and_autocast_are_finite(name: str) -> None:
    net = build(name)
    batch = torch.cat([voices([16_000]), torch.zeros(1, 16_000, dtype=torch.int16)])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = net(batch, torch.tensor([16_000, 12_000]))
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.parametrize("name", PARAMS)
def test_autocast_is_near_float32(name: str) -> None:
    net = build(name)
    batch, lengths = voices([17_000, 16_300]), torch.tensor([17_000, 16_300])
    with torch.no_grad():
        expected = net(batch, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            out = net(batch, lengths)
    assert not torch.equal(out, expected)
    assert (F.cosine_similarity(out, expected) > 0.999).all()
    torch.testing.assert_close(out.norm(dim=1), expected.norm(dim=1), rtol=0.05, atol=0)


@pytest.mark.parametrize("name", PARAMS)
def test_a_few_samples_are_enough(name: str) -> None:
    net = build(name)
    with torch.no_grad():
        for length in (1, 2, 399):
            assert net(voices([length])).isfinite().all()


@pytest.mark.parametrize("name", PARAMS)
def test_gradients_reach_every_parameter(name: str) -> None:
    net = build(name).train()
    net(voices([16_000, 16_000])).square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


@pytest.mark.parametrize("name", PARAMS)
def test_state_dict_round_trip(name: str) -> None:
    net = build(name)
    with constant_weights():
        other = voice_encoder(name).eval()
    batch = voices([16_000])
    with torch.no_grad():
        expected = net(batch)
        assert not torch.equal(other(batch), expected)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(batch), expected)


def test_only_evaluation_appends_the_reversal() -> None:
    net = build("voice_thin_resnet34")
    assert isinstance(net, ThinResNet34)
    steps: list[int] = []
    net.stem.register_forward_hook(lambda module, args, out: steps.append(out.shape[-1]))
    with torch.no_grad():
        net(voices([40_000]))
        net.train()
        net(voices([40_000, 40_000]))
    assert steps == [1 + 80_000 // 160, 1 + 40_000 // 160]


def test_empty_utterances_are_refused() -> None:
    with pytest.raises(UserError, match="voice lengths"):
        voice_encoder("voice_small")(torch.zeros(2, 16_000), torch.tensor([16_000, 0]))


def test_small_overfits_eight_people() -> None:
    torch.manual_seed(0)
    net = voice_encoder("voice_small")
    head = nn.Linear(net.dim, 8)
    batch, labels = voices([16_000] * 8).repeat(2, 1), torch.arange(8).repeat(2)
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(15):
        loss = F.cross_entropy(head(net(batch)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
