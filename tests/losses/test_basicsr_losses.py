"""BasicSR's losses as the methods use them: registered by our room, with the values of their formulas."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

import fsr_plugins.losses  # noqa: F401  registers them
from fsr_plugins.registry import build


def test_registered_by_importing_the_room() -> None:
    """In a fresh process, so that no other test has imported BasicSR's losses."""
    code = (
        'import fsr_plugins.losses\n'
        'from fsr_plugins.registry import LOSS_REGISTRY as losses\n'
        "names = 'L1Loss MSELoss CharbonnierLoss GANLoss PerceptualLoss SequenceLoss'.split()\n"
        'assert all(name in losses for name in names)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize(
    ('block', 'expected'),
    [
        ({'type': 'L1Loss'}, 0.75),
        ({'type': 'MSELoss', 'loss_weight': 2.0}, 2 * 0.625),
        ({'type': 'CharbonnierLoss', 'eps': 0.75}, (1.0 + math.sqrt(1.75)) / 2),
    ],
)
def test_pixel_losses(block: dict[str, object], expected: float) -> None:
    """Errors of 0.5 and 1."""
    prediction, target = torch.tensor([[[[0.5, 2.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    assert build('losses', block)(prediction, target).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('logit', [-3.0, 0.0, 1.5])
def test_vanilla_gan(logit: float) -> None:
    """D = σ(logit). Generator: −log D(G(x)), non-saturating; discriminator: −log D(y) and −log(1 − D(G(x)))."""
    probability = 1 / (1 + math.exp(-logit))
    loss = build('losses', {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.05})
    logits = torch.full((4, 1), logit)
    generator = loss(logits, target_is_real=True, is_disc=False)
    assert generator.item() == pytest.approx(-0.05 * math.log(probability), rel=1e-5)
    real, fake = loss(logits, True, is_disc=True), loss(logits, False, is_disc=True)
    assert real.item() == pytest.approx(-math.log(probability), rel=1e-5)
    assert fake.item() == pytest.approx(-math.log(1 - probability), rel=1e-5)


@pytest.mark.parametrize('target_is_real', [True, False])
def test_vanilla_gan_gradient(target_is_real: bool) -> None:
    loss = build('losses', {'type': 'GANLoss', 'gan_type': 'vanilla'})
    logits = torch.tensor([[-2.0], [0.3], [4.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, target_is_real), (logits,))
