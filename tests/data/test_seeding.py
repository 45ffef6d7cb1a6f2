"""Random numbers as functions of integers: the published mixer, uniform orders."""

from __future__ import annotations

import numpy as np

from fsr_plugins.data.seeding import mix, permutation, splitmix64


def test_splitmix64_is_the_published_one() -> None:
    # The reference's sequence from state 1234567 (Vigna, prng.di.unimi.it/splitmix64.c): each step adds the constant.
    step = 0x9E3779B97F4A7C15
    outputs = [splitmix64((1234567 + index * step) & ((1 << 64) - 1)) for index in range(5)]
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    values = {mix(seed, epoch, index) for seed in range(5) for epoch in range(5) for index in range(20)}
    assert len(values) == 500 and all(0 <= value < 1 << 63 for value in values)


def test_permutations_are_uniform() -> None:
    orders = np.stack([permutation(0, epoch, 5) for epoch in range(2000)])
    assert np.array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(5), orders.shape))
    counts = np.stack([(orders == value).sum(axis=0) for value in range(5)])
    chi_squared = ((counts - 400) ** 2 / 400).sum()
    assert chi_squared < 39.25  # 16 degrees of freedom, p = 0.001
