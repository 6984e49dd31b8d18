"""Voices in passes: the same embeddings as one by one, within the bound, also where memory runs out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.encoders import voice_encoder
from voiceface.encoders.passes import by_length, embed_in_passes, samples_per_pass
from voiceface.utils.errors import UserError


def means(waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """A network by hand: mean and length of each voice."""
    rows = [wave[: int(n)].float().mean() for wave, n in zip(waveforms, lengths, strict=True)]
    return torch.stack([torch.stack(rows), lengths.float()], dim=1)


@settings(max_examples=examples(60))
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.one_of(st.none(), st.integers(1, 200)),
    st.integers(1, 300),
)
def test_passes_embed_what_single_voices_give(lengths: list[int], samples: int | None, memory: int):
    generator = torch.Generator().manual_seed(len(lengths))
    waves = torch.randint(-99, 99, (len(lengths), max(lengths)), dtype=torch.int16, generator=generator)
    own, seen = torch.tensor(lengths), []

    def embed(part: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        if part.numel() > memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert int(of.max()) <= part.shape[1] <= max(lengths)
        seen.append(part.shape)
        return means(part, of)

    if max(lengths) > memory:
        with pytest.raises(UserError, match="does not fit into the memory of cpu"):
            embed_in_passes(embed, waves, own, samples)
        return
    found = embed_in_passes(embed, waves, own, samples)
    torch.testing.assert_close(found, means(waves, own))
    if samples is not None:
        assert all(rows == 1 or rows * width <= samples for rows, width in seen)
    assert sum(rows for rows, _ in seen) == len(lengths)


def test_another_error_is_not_taken_for_one_of_memory():
    def broken(waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes of the allocated rows differ")

    with pytest.raises(RuntimeError, match="rows differ"):
        embed_in_passes(broken, torch.zeros(2, 4), torch.tensor([4, 4]), None)


def test_the_processor_too_runs_out_of_memory():
    def huge(waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.empty(len(waves) * 2**58, dtype=torch.int8) if len(waves) > 1 else means(waves, lengths)

    waves, lengths = torch.arange(12).reshape(3, 4), torch.tensor([4, 4, 4])
    torch.testing.assert_close(embed_in_passes(huge, waves, lengths, None), means(waves, lengths))


def test_groups_by_length():
    lengths = [5, 1, 9, 9, 2, 100, 3]
    groups = list(by_length(lengths, 3, 20))
    assert sorted(place for places in groups for place in places) == list(range(7))
    for places in groups:
        assert len(places) <= 3
        assert len(places) == 1 or len(places) * max(lengths[p] for p in places) <= 20
    assert [5] in groups


def test_a_network_gives_the_same_in_passes():
    encoder = voice_encoder("voice_small").eval()
    lengths = torch.tensor([48_000, 20_000, 31_000, 16_000])
    waves = torch.randint(-2000, 2000, (4, 48_000), dtype=torch.int16)
    waves[torch.arange(48_000) >= lengths[:, None]] = 0
    assert samples_per_pass(encoder, torch.device("cpu"), 2.0) == 32_000
    with torch.no_grad():
        whole, parts = encoder(waves, lengths), embed_in_passes(encoder, waves, lengths, 32_000)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)


def test_the_bound_follows_the_memory_that_a_network_takes():
    cpu = torch.device("cpu")
    light, heavy = (samples_per_pass(voice_encoder(f"voice_{name}"), cpu) for name in ("small", "thin_resnet34"))
    assert heavy < 60 * 16_000 < light
    assert samples_per_pass(voice_encoder("voice_features", dim=4), cpu) is None
