"""The luminance-chrominance error against values worked out by hand and BasicSR's colour conversion."""

from __future__ import annotations

import pytest
import torch
from basicsr.utils.color_util import rgb2ycbcr_pt

from fsr_plugins.errors import UserError
from fsr_plugins.losses import LuminanceChrominanceLoss
from fsr_plugins.registry import build

BLACK, WHITE = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)


def plain(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 2, 2)


@pytest.fixture()
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sr, gt = torch.rand(2, 3, 3, 5, 4, generator=generator, dtype=torch.float64)
    return sr, gt


def test_black_and_white_differ_in_luminance_only() -> None:
    # Y goes from 16 to 235: 219 levels of 255.
    assert LuminanceChrominanceLoss()(WHITE, BLACK).item() == pytest.approx(219 / 255)
    assert LuminanceChrominanceLoss(scale=255)(WHITE, BLACK).item() == pytest.approx(219)


def test_pure_red() -> None:
    expected = (65.481**2 + 37.797**2 + 112.0**2) ** 0.5
    assert LuminanceChrominanceLoss(scale=255)(plain(1, 0, 0), BLACK).item() == pytest.approx(expected, rel=1e-6)


def test_squared_error_in_yuv() -> None:
    # Grey has no chrominance: ΔY = 1, over three channels.
    assert LuminanceChrominanceLoss('mse')(WHITE, BLACK).item() == pytest.approx(1 / 3, rel=1e-5)
    # Blue: Y = 0.114, U = 0.492111 * 0.886, V = -0.877283 * 0.114.
    expected = (0.114**2 + (0.492111 * 0.886) ** 2 + (0.877283 * 0.114) ** 2) / 3
    assert LuminanceChrominanceLoss('mse')(plain(0, 0, 1), BLACK).item() == pytest.approx(expected, rel=1e-5)


def test_agrees_with_basicsr(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    sr, gt = pair
    delta = 255 * (rgb2ycbcr_pt(sr) - rgb2ycbcr_pt(gt))
    loss = LuminanceChrominanceLoss(loss_weight=0.5, scale=255)
    torch.testing.assert_close(loss(sr, gt), 0.5 * delta.norm(dim=1).mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(('mode', 'power'), [('euclid', 1), ('mse', 2)])
def test_grows_with_the_scale(mode: str, power: int, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    one, many = (build('losses', {'type': 'LuminanceChrominanceLoss', 'mode': mode, 'scale': s}) for s in (1.0, 255.0))
    torch.testing.assert_close(many(*pair), 255.0**power * one(*pair), rtol=1e-6, atol=0)


@pytest.mark.parametrize('mode', ['euclid', 'mse'])
def test_gradient(mode: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    sr, gt = pair
    loss = build('losses', {'type': 'LuminanceChrominanceLoss', 'mode': mode, 'scale': 3.0})
    assert torch.autograd.gradcheck(lambda x: loss(x, gt), sr.requires_grad_())


def test_equal_images_have_a_finite_gradient() -> None:
    sr = WHITE.clone().requires_grad_()
    LuminanceChrominanceLoss(scale=255)(sr, WHITE).backward()
    assert sr.grad is not None
    assert torch.equal(sr.grad, torch.zeros_like(sr))


def test_autocast_changes_nothing(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    sr, gt = (image.float() for image in pair)
    loss = LuminanceChrominanceLoss(scale=255)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = loss(sr, gt)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(sr, gt))
    # 255 * 219 squared is beyond float16.
    assert loss(WHITE.half(), BLACK.half()).item() == pytest.approx(219)


def test_nothing_to_train_or_save() -> None:
    loss = LuminanceChrominanceLoss()
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_wrong_use(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(UserError, match="'ycbcr': choose euclid or mse"):
        build('losses', {'type': 'LuminanceChrominanceLoss', 'mode': 'ycbcr'})
    with pytest.raises(UserError, match='above 0'):
        LuminanceChrominanceLoss(eps=0)
    with pytest.raises(ValueError, match=r'\(3, 3, 5, 4\).*\(1, 3, 2, 2\)'):
        LuminanceChrominanceLoss()(pair[0], WHITE)
