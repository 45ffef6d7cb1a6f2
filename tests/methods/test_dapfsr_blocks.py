"""The blocks of DAP-FSR's encoder: each by hand, and an ISTN that learns to set faces upright."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cv2
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.methods.dapfsr.blocks import ALE, ISTN, PyramidContext


def test_an_istn_moves_nothing_before_training() -> None:
    net, x = ISTN(5), torch.randn(2, 5, 16, 24)
    assert torch.equal(net.theta(x), torch.eye(2, 3).expand(2, 2, 3))
    torch.testing.assert_close(net(x), x, rtol=0, atol=1e-5)


def restless(net: nn.Module) -> Any:
    """The network with ISTNs that move, as after training."""
    for each in net.modules():
        if isinstance(each, ISTN):
            nn.init.normal_(each.to_theta.weight, std=0.1)
    return net


@pytest.mark.parametrize('size', [(8, 8), (9, 13), (16, 16), (128, 96)])
def test_an_istn_takes_maps_of_any_size(size: tuple[int, int]) -> None:
    net, x = restless(ISTN(4)), torch.randn(2, 4, *size)
    assert net.theta(x).shape == (2, 2, 3)
    assert net(x).shape == x.shape
    assert not torch.allclose(net(x), x, atol=0.1)


def test_style_does_not_change_what_an_istn_does() -> None:
    net, x = restless(ISTN(6)), torch.randn(2, 6, 16, 16)
    gain, shift = torch.rand(2, 6, 1, 1) * 3 + 0.2, torch.randn(2, 6, 1, 1)
    assert (net.theta(x) - torch.eye(2, 3)).abs().max() > 0.02
    torch.testing.assert_close(net.theta(gain * x + shift), net.theta(x), rtol=0, atol=1e-4)
    # ... but the map that it moves keeps its style.
    torch.testing.assert_close(net(gain * x), gain * net(x), rtol=0, atol=2e-3)


def test_an_istn_moves_by_its_theta() -> None:
    net, x = ISTN(1), torch.rand(1, 1, 8, 8)
    with torch.no_grad():  # what is at (x, y) comes from (-y, x): from bottom right to top right
        net.to_theta.bias.copy_(torch.tensor([0.0, -1.0, 0.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(net(x)[0, 0], x[0, 0].rot90(), rtol=0, atol=1e-5)
    with torch.no_grad():  # half a unit of two for eight pixels
        net.to_theta.bias.copy_(torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0, 0.0]))
    torch.testing.assert_close(net(x)[0, 0], F.pad(x[0, 0, :, 2:], (0, 2)), rtol=0, atol=1e-5)


def test_places_stay_fine_in_half_precision() -> None:
    net, x = restless(ISTN(4)), torch.randn(1, 4, 32, 32)
    with torch.autocast('cpu', torch.bfloat16):
        assert net.theta(x.bfloat16()).dtype == torch.float32
        assert net(x.bfloat16()).dtype == torch.bfloat16


def faces(number: int, generator: torch.Generator) -> Tensor:
    """Two eyes and a mouth as blobs, each of a colour and of its own brightness: (number, 3, 32, 32)."""
    axis = (torch.arange(32) + 0.5) / 16 - 1
    image = torch.zeros(number, 3, 32, 32)
    for place, (x, y, radius) in enumerate([(-0.35, -0.25, 0.16), (0.35, -0.25, 0.16), (0.0, 0.35, 0.25)]):
        blob = torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * radius**2))
        colour = 0.2 + 0.8 * torch.eye(3)[place]
        image += (0.5 + torch.rand(number, 1, 1, 1, generator=generator)) * colour[:, None, None] * blob
    return image


def moved(upright: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The images turned by up to 25 degrees and shifted by up to a tenth of a side, and the affine map back."""
    draw = 2 * torch.rand(3, len(upright), generator=generator) - 1
    cos, sin = (math.radians(25) * draw[0]).cos(), (math.radians(25) * draw[0]).sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    shift = 0.2 * draw[1:].T[:, :, None]
    grid = F.affine_grid(torch.cat([turn, shift], dim=2), list(upright.shape), align_corners=False)
    back = torch.cat([turn.mT, -turn.mT @ shift], dim=2)
    return F.grid_sample(upright, grid, align_corners=False), back


@cache
def trained_istn() -> ISTN:
    """An ISTN that was shown moved and upright faces."""
    torch.manual_seed(0)
    net, generator = ISTN(3), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(100):
        upright = faces(8, generator)
        optimizer.zero_grad()
        F.mse_loss(net(moved(upright, generator)[0]), upright).backward()
        optimizer.step()
    return net.requires_grad_(False)


@pytest.mark.parametrize('style', [((1.0, 1.0, 1.0), 0.0), ((0.4, 2.0, 1.3), 0.5)], ids=['source', 'other domain'])
def test_an_istn_learns_to_set_faces_upright(style: tuple[tuple[float, ...], float]) -> None:
    generator = torch.Generator().manual_seed(2)
    upright = faces(64, generator)
    tilted, back = moved(upright, generator)
    gain = torch.tensor(style[0])[:, None, None]
    theta = trained_istn().theta(gain * tilted + style[1])
    assert (theta - back).abs().mean() < 0.25 * (torch.eye(2, 3) - back).abs().mean()
    aligned = trained_istn()(gain * tilted)
    assert F.mse_loss(aligned, gain * upright) < 0.1 * F.mse_loss(gain * tilted, gain * upright)


def test_ale_by_hand() -> None:
    net, x = ALE(8, 6, reduction=2), torch.randn(2, 8, 5, 5)
    hidden, _, spread, _ = net.gate
    weight = torch.relu(x.mean((2, 3)) @ hidden.weight.T + hidden.bias) @ spread.weight.T + spread.bias
    gated = torch.einsum('nchw,nc->nchw', x, 1 / (1 + torch.exp(-weight)))
    windows = F.unfold(gated, 3, padding=1)
    found = net.conv.weight.flatten(1) @ windows + net.conv.bias[:, None]
    pooled = torch.where(found > 0, found, 0.2 * found).mean(2)
    torch.testing.assert_close(net(x), pooled @ net.latent.weight.T + net.latent.bias)


def test_context_by_hand() -> None:
    net = PyramidContext([4, 6, 5], num_feat=2)
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 5, 1, 1)]
    context = net(maps)
    for place, factor in enumerate((1, 2, 8)):
        lateral = torch.einsum('nchw,oc->nohw', maps[place], net.lateral[place].weight.flatten(1))
        lateral = lateral + net.lateral[place].bias[:, None, None]
        for image, own in zip(lateral, context[:, 2 * place : 2 * place + 2], strict=True):
            enlarged = cv2.resize(image.permute(1, 2, 0).detach().numpy(), None, fx=factor, fy=factor)
            torch.testing.assert_close(own, torch.from_numpy(enlarged).permute(2, 0, 1), rtol=1e-4, atol=1e-5)
