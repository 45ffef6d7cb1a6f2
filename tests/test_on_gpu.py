"""What only a GPU can show: the same numbers as on the CPU, and a training step in every precision, compiled too."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch

from fsr_plugins.degradations import BicubicDown, RealWorldCamera
from fsr_plugins.degradations.random import bits
from fsr_plugins.edges import canny, canny_cv2, dog
from fsr_plugins.metrics.psnr_ssim import PSNR, SSIM
from fsr_plugins.models import SupervisedModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]


def faces(number: int = 4, size: int = 64) -> torch.Tensor:
    coarse = torch.rand(number, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode='bicubic')
    return smooth.clamp(0, 1).mul(255).round().div(255)


def test_random_numbers_are_those_of_the_cpu() -> None:
    seeds = torch.arange(64)
    assert torch.equal(bits(seeds, 100, 3), bits(seeds.cuda(), 100, 3).cpu())


def test_lr_images_are_those_of_the_cpu() -> None:
    gt, seeds = faces(), torch.arange(4)
    exact = BicubicDown(4, quantize=False)
    torch.testing.assert_close(exact(gt.cuda()).cpu(), exact(gt), atol=1e-5, rtol=0)
    camera = RealWorldCamera(4)
    different = (camera(gt.cuda(), seeds.cuda()).cpu() - camera(gt, seeds)).abs()
    assert (different > 1e-4).float().mean() < 0.01
    assert different.max() < 0.05


def test_edges_are_those_of_the_cpu() -> None:
    image = faces()
    assert torch.equal(canny(image.cuda()).cpu(), canny_cv2(image))
    torch.testing.assert_close(dog(image.cuda()).cpu(), dog(image), atol=1e-4, rtol=0)


@pytest.mark.parametrize('metric', [PSNR, SSIM])
def test_metrics_are_those_of_the_cpu(metric: type[Any]) -> None:
    gt = faces()
    sr = (gt + 0.05 * torch.randn(gt.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    sr = sr.mul(255).round().div(255)
    figures = []
    for device in ('cpu', 'cuda'):
        measure = metric()
        measure.update(sr.to(device), gt.to(device), {})
        figures.append(measure.compute()[metric.name])
    assert figures[0] == pytest.approx(figures[1], abs=1e-4)


@pytest.mark.parametrize('compiled', [False, True])
@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'fp16'])
def test_a_step_trains_in_every_precision(precision: str, compiled: bool) -> None:
    opt = tiny.options() | {'precision': precision, 'compile': compiled, 'channels_last': True, 'num_gpu': 1}
    opt |= {'is_train': True, 'dist': False, 'rank': 0, 'path': {}}
    torch.manual_seed(0)
    model = SupervisedModel(opt)
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    gt = (faces(2, 16).permute(0, 2, 3, 1) * 255).byte()
    for iteration in range(1, 4):
        model.feed_data({'gt': gt, 'seed': torch.arange(2), 'gt_path': ['a', 'b']})
        model.optimize_parameters(iteration)
    assert model.lq is not None and model.lq.device.type == 'cuda'
    assert all(value > 0 for value in model.get_current_log().values())
    assert any(not torch.equal(before[name], value) for name, value in model.net_g.state_dict().items())
    assert not any(key.startswith('_orig_mod') for key in model.training_state()['nets']['net_g'])
