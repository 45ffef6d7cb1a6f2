"""What only a GPU can show: the same numbers as on the CPU, and a training step in every precision, compiled too."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import tiny
import torch
from option_files import stages

import fsr_plugins
from fsr_plugins.config.settings import read_settings
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.degradations import BicubicDown, PhotographedFace, RealWorldCamera
from fsr_plugins.degradations.random import bits
from fsr_plugins.edges import canny, canny_cv2, dog
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.metrics.psnr_ssim import PSNR, SSIM
from fsr_plugins.models import SupervisedModel
from fsr_plugins.models.embedding import Embedder
from fsr_plugins.muon import MuonAdam
from fsr_plugins.registry import lookup

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
    for camera in (RealWorldCamera(4), PhotographedFace(4)):
        different = (camera(gt.cuda(), seeds.cuda()).cpu() - camera(gt, seeds)).abs()
        assert (different > 1e-4).float().mean() < 0.01
        assert different.max() < 0.05


def test_the_mean_embedding_stays_on_the_device() -> None:
    embeddings = [torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    found = []
    for device in ('cpu', 'cuda'):
        embedder = Embedder(subtract_mean=True)
        first = embedder.relative(*(each.to(device) for each in embeddings))
        embedder.load(embedder.state(), torch.device(device))
        found.append([*first, *embedder.relative(*(each.to(device) for each in embeddings))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(theirs.cpu(), ours)


def test_muon_learns_as_on_the_cpu() -> None:
    torch.manual_seed(0)
    start = torch.nn.Conv2d(16, 24, 3)
    gradients = [[torch.randn_like(parameter) for parameter in start.parameters()] for _ in range(3)]
    learnt = []
    for device in ('cpu', 'cuda'):
        net = copy.deepcopy(start).to(device, memory_format=torch.channels_last)
        optimizer = MuonAdam(net.parameters(), lr=1e-2)
        for step in gradients:
            for parameter, gradient in zip(net.parameters(), step, strict=True):
                parameter.grad = gradient.to(device)
            optimizer.step()
        learnt.append(
            [
                parameter.detach().cpu() - old
                for parameter, old in zip(net.parameters(), start.parameters(), strict=True)
            ]
        )
    for ours, theirs in zip(*learnt, strict=True):
        assert (ours - theirs).norm() < 0.03 * ours.norm()  # three digits of bf16


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


def losses(model: Any, batch: dict[str, Any], iterations: int) -> list[dict[str, float]]:
    """Of every iteration, trained on the same batch."""
    found = []
    for iteration in range(1, iterations + 1):
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        found.append(dict(model.get_current_log()))
    return found


def supervised(**settings: Any) -> SupervisedModel:
    """A tiny network on the GPU, with an average of its weights; it begins the same each time."""
    opt = tiny.options() | {'channels_last': True, 'num_gpu': 1, **settings}
    opt |= {'is_train': True, 'dist': False, 'rank': 0, 'path': {}}
    torch.manual_seed(0)
    return SupervisedModel(opt)


def small_batch() -> dict[str, Any]:
    gt = (faces(2, 16).permute(0, 2, 3, 1) * 255).byte()
    return {'gt': gt, 'seed': torch.arange(2), 'gt_path': ['a', 'b']}


@pytest.mark.parametrize('mode', [False, True, 'reduce-overhead'])
@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'fp16'])
def test_a_step_trains_in_every_precision(precision: str, mode: bool | str) -> None:
    model = supervised(precision=precision, compile=mode)
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    found = losses(model, small_batch(), 4)
    assert model.lq is not None and model.lq.device.type == 'cuda'
    assert all(value > 0 for values in found for value in values.values())
    assert any(not torch.equal(before[name], value) for name, value in model.net_g.state_dict().items())
    assert not any(key.startswith('_orig_mod') for key in model.training_state()['nets']['net_g'])


@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('mode', [True, 'reduce-overhead'])
def test_compiled_networks_train_as_they_do_uncompiled(mode: bool | str, accumulate: int) -> None:
    train = {**tiny.options()['train'], 'accumulate': accumulate, 'ema_decay': 0.9}
    train['optim_g'] = {'type': 'SGD', 'lr': 0.1}
    plain, compiled = (supervised(compile=choice, train=train) for choice in (False, mode))
    expected, found = (losses(model, small_batch(), 7) for model in (plain, compiled))
    assert expected[0] != expected[-1]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    for name, value in plain.evaluated('net_g').state_dict().items():
        torch.testing.assert_close(compiled.evaluated('net_g').state_dict()[name], value, atol=1e-3, rtol=1e-2)


STAGES = [
    (file, stage)
    for file in ('tsnet.yml', 'pkdn.yml', 'isrkd.yml', 'cface.yml', 'dapfsr.yml')
    for stage, opt in stages(file).items()
    if opt['train'] is not None
]


def method(monkeypatch: pytest.MonkeyPatch, file: str, stage: str, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """The model of a stage of a method's own small option file, and a batch of built-in faces."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'scripts'))
    from benchmark import stage as benchmark_stage

    monkeypatch.setattr(benchmark_stage, 'FACES', 8)
    opt = benchmark_stage.stand_in(stages(file)[stage] | settings, 2)
    if 'perceptual_opt' in opt['train']:  # DAP-FSR's features are those of a critic that another stage trains
        opt['train'] |= {'perceptual_opt': None} | ({'mixing': 'hard'} if stage == 'adapt' else {})
    opt |= {'is_train': True, 'dist': False, 'rank': 0}
    torch.manual_seed(0)
    model = lookup('models', opt['model_type'])(opt)
    settings = read_settings(opt)
    data = settings.sets['train']
    with TrainLoader(make_dataset(data, 'train', settings), data.batch_size, threads=1) as loader:
        return model, next(iter(loader))


@pytest.mark.parametrize(('file', 'stage'), STAGES)
def test_every_stage_begins_as_on_the_cpu(file: str, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in (0, 1):
        model, batch = method(monkeypatch, file, stage, num_gpu=number)
        torch.manual_seed(1)
        found.append(losses(model, batch, 1)[0])
    assert found[0].keys() == found[1].keys()
    drawn = {name for name in found[0] if not math.isclose(found[0][name], found[1][name], rel_tol=2e-2, abs_tol=1e-4)}
    # DAP-FSR draws z and noise on the device, so that these are others than the CPU's.
    assert not drawn or file == 'dapfsr.yml'


@pytest.mark.parametrize('mode', [True, 'reduce-overhead'])
def test_tsnet_trains_compiled_as_it_does_uncompiled(mode: bool | str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for choice in (False, mode):
        model, batch = method(monkeypatch, 'tsnet.yml', 'joint', num_gpu=1, compile=choice)
        found.append(losses(model, batch, 3))
    for ours, theirs in zip(*found, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-2, abs=1e-4)


def test_a_group_of_one_process_trains_over_nccl(tmp_path: Path) -> None:
    """Two processes need two GPUs, as NCCL refuses to share one; this is the launcher, the group and DDP on one."""
    (tmp_path / 'faces').mkdir()
    for number, image in enumerate((faces(4, 16) * 255).byte().permute(0, 2, 3, 1).numpy()):
        cv2.imwrite(str(tmp_path / 'faces' / f'{number}.png'), image)
    file = tiny.write_options(tmp_path / 'tiny.yml', tiny.options(tmp_path / 'faces') | {'num_gpu': 1})
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=1']
    train = [str(Path(fsr_plugins.__file__).parent / 'train.py'), '-opt', str(file), '--launcher', 'pytorch']
    environment = {**os.environ, 'NCCL_DEBUG': 'VERSION'}
    ran = subprocess.run(
        [*torchrun, *train], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert 'NCCL version' in ran.stdout + ran.stderr
    assert json.loads((tmp_path / 'experiments' / 'tiny' / 'summary.json').read_text())['stages']
