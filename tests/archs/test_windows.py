"""Networks that look through windows get whole ones; what was added is not seen in the result."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.windows import enlarge, window_of
from fsr_plugins.registry import build_network

SWINIR = {
    'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 16, 'window_size': 8, 'img_range': 1.0,
    'depths': [2], 'embed_dim': 12, 'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffle',
}  # fmt: skip


class Windowed(nn.Module):
    """Enlarges threefold and tells what it was given."""

    def __init__(self, window_size: int = 4) -> None:
        super().__init__()
        self.window_size = window_size
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return F.interpolate(x, scale_factor=3)


def test_swinir_enlarges_any_size_as_basicsr_tests_it() -> None:
    torch.manual_seed(0)
    net = build_network(SWINIR).eval()
    assert window_of(net) == 8
    lq = torch.rand(2, 3, 13, 17)
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            net(lq)
        found = enlarge(net, lq)
        expected = net(F.pad(lq, (0, 7, 0, 3), 'reflect'))[..., :26, :34]
    assert found.shape == (2, 3, 26, 34) and torch.equal(found, expected)


def test_what_is_added_is_reflected_and_cut_away() -> None:
    net = Windowed()
    lq = torch.rand(1, 3, 6, 7)
    assert torch.equal(enlarge(net, lq), F.interpolate(lq, scale_factor=3))
    (seen,) = net.seen
    assert seen.shape == (1, 3, 8, 8)
    assert torch.equal(seen[..., 6, :7], lq[..., 4, :]) and torch.equal(seen[..., :6, 7], lq[..., 5])


def test_an_image_smaller_than_its_continuation_is_repeated() -> None:
    lq = torch.rand(1, 3, 3, 20)
    net = Windowed(16)
    assert enlarge(net, lq).shape == (1, 3, 9, 60)
    assert torch.equal(net.seen[0][..., 15, :20], lq[..., 2, :])


def test_whole_windows_and_other_networks_are_left_alone() -> None:
    net, lq = Windowed(), torch.rand(1, 3, 8, 12)
    enlarge(net, lq)
    assert net.seen[0] is lq
    assert window_of(nn.Conv2d(3, 3, 3)) == 1 and window_of(lambda x: x) == 1
    assert window_of(nn.Sequential(Windowed(4), Windowed(6))) == 12
