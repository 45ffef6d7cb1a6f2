"""Counter-based random numbers against SplitMix64 in Python integers, and against their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fsr_plugins.degradations.random import bits, fresh_seeds, integers, mix, normal, uniform

SEEDS = torch.arange(2000)
MASK = (1 << 64) - 1


def splitmix_finaliser(x: int) -> int:
    """The published finaliser in unsigned arithmetic of arbitrary precision."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_wrapping_int64_equals_unsigned_arithmetic():
    seeds = torch.tensor([0, 1, -1, 2**62, -(2**63)])
    for seed, row in zip(seeds.tolist(), bits(seeds, 5, stream=3).tolist(), strict=True):
        inner = splitmix_finaliser((seed + 0x9E3779B97F4A7C15) & MASK)
        state = splitmix_finaliser(inner ^ (4 * 0xD1B54A32D192ED03 & MASK))
        expected = [splitmix_finaliser((state + k * 0x9E3779B97F4A7C15) & MASK) for k in range(1, 6)]
        assert [value & MASK for value in row] == expected


def test_first_numbers_of_splitmix64():
    # Reference output of the generator seeded with 1234567 (S. Vigna's splitmix64.c).
    state, golden = 1234567, 0x9E3779B97F4A7C15
    first = [splitmix_finaliser((state + k * golden) & MASK) for k in (1, 2, 3)]
    assert first == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniform_distribution():
    draw = uniform(SEEDS, 50, 0)
    assert draw.dtype == torch.float32 and draw.min() >= 0 and draw.max() < 1
    assert stats.kstest(draw.flatten().numpy(), 'uniform').pvalue > 1e-3
    # Also across seeds, which differ by one only, at one position.
    assert stats.kstest(draw[:, 0].numpy(), 'uniform').pvalue > 1e-3


def test_uniform_range():
    draw = uniform(SEEDS, 4, 0, -2.0, 3.0)
    assert draw.min() >= -2 and draw.max() <= 3
    assert stats.kstest(draw.flatten().numpy(), 'uniform', args=(-2, 5)).pvalue > 1e-3


def test_normal_distribution():
    draw = normal(SEEDS, (3, 5, 5), 0)
    assert draw.shape == (2000, 3, 5, 5)
    flat = draw.flatten().double().numpy()
    assert stats.kstest(flat, 'norm').pvalue > 1e-3
    assert abs(flat.mean()) < 0.01 and abs(flat.std() - 1) < 0.01
    assert abs(stats.skew(flat)) < 0.03 and abs(stats.kurtosis(flat)) < 0.06


def test_both_halves_of_a_box_muller_pair_are_independent():
    draw = normal(SEEDS, (20,), 1)
    assert abs(np.corrcoef(draw[:, :10].flatten(), draw[:, 10:].flatten())[0, 1]) < 0.03
    assert abs(np.corrcoef(draw[:, :10].flatten() ** 2, draw[:, 10:].flatten() ** 2)[0, 1]) < 0.03


def test_integers_are_even_over_their_span():
    draw = integers(SEEDS, 30, 0, -3, 9)
    values, counts = np.unique(draw.numpy(), return_counts=True)
    assert values.tolist() == list(range(-3, 9))
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize('span', [(3, 3), (4, 1), (0, 1 << 31)])
def test_an_impossible_span_is_refused(span):
    with pytest.raises(ValueError, match='span'):
        integers(SEEDS, 1, 0, *span)


def test_streams_seeds_and_salts_are_unrelated():
    # 40,000 pairs: the correlation of independent numbers has a standard deviation of 0.005.
    base = uniform(SEEDS, 20, 0)
    others = (
        uniform(SEEDS, 20, 1),
        uniform(SEEDS + 1, 20, 0),
        uniform(mix(SEEDS, 0), 20, 0),
        uniform(mix(SEEDS, 1), 20, 0),
        base.roll(1, dims=1),
    )
    for other in others:
        assert abs(np.corrcoef(base.flatten(), other.flatten())[0, 1]) < 0.025


def test_an_image_draws_the_same_in_any_batch():
    for draw in (lambda s: uniform(s, 7, 2), lambda s: normal(s, (3, 4), 2), lambda s: integers(s, 7, 2, 0, 100)):
        whole = draw(SEEDS[:50])
        assert torch.equal(draw(SEEDS[17:20]), whole[17:20])
        assert torch.equal(draw(SEEDS[:50].flip(0)), whole.flip(0))


def test_a_tensor_of_salts_equals_single_salts():
    salted = mix(SEEDS[:4], torch.tensor([5, 6, 7, 2**40]))
    assert salted.tolist() == [mix(SEEDS[i : i + 1], salt).item() for i, salt in enumerate((5, 6, 7, 2**40))]


def test_no_collisions_among_many_seeds():
    assert mix(torch.arange(200_000), 3).unique().numel() == 200_000


def test_fresh_seeds_follow_the_global_generator():
    torch.manual_seed(4)
    first = fresh_seeds(8)
    torch.manual_seed(4)
    assert torch.equal(first, fresh_seeds(8)) and first.unique().numel() == 8
