"""BasicSR's StyleGAN2 model in this engine, and driven directly: the same losses, the same weights."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from basicsr.models.stylegan2_model import StyleGAN2Model

from fsr_plugins.config.hosted import is_hosted
from fsr_plugins.registry import load_plugins, lookup

SIZE, BATCH, ITERATIONS = 16, 4, 20
SMALL = {'num_mlp': 2, 'narrow': 0.03}
ADAM = {'type': 'Adam', 'lr': 2e-3, 'foreach': False}


def options(folder: Path) -> dict[str, Any]:
    """BasicSR's option file of StyleGAN2, with small networks and penalties that are due often."""
    networks = {
        'g': {'type': 'StyleGAN2Generator', 'out_size': SIZE, 'num_style_feat': 8, 'resample_kernel': [1, 3, 3, 1],
              'lr_mlp': 0.01, **SMALL},
        'd': {'type': 'StyleGAN2Discriminator', 'out_size': SIZE, 'narrow': SMALL['narrow'],
              'resample_kernel': [1, 3, 3, 1]},
    }  # fmt: skip
    torch.manual_seed(0)
    path = {'models': str(folder), 'training_states': str(folder), 'visualization': str(folder)}
    for letter, block in networks.items():
        state = build_network(copy.deepcopy(block)).state_dict()
        torch.save({'params': state, 'params_ema': state}, folder / f'{letter}.pth')
        path[f'pretrain_network_{letter}'] = str(folder / f'{letter}.pth')
    return {
        'name': 'style', 'model_type': 'StyleGAN2Model', 'scale': 1, 'num_gpu': 0, 'is_train': True, 'dist': False,
        'rank': 0, 'manual_seed': 0, 'datasets': {}, 'path': path,
        'network_g': networks['g'], 'network_d': networks['d'], 'val': {'val_freq': 5000, 'save_img': False},
        'train': {
            'total_iter': ITERATIONS, 'warmup_iter': -1, 'optim_g': dict(ADAM), 'optim_d': dict(ADAM),
            'scheduler': {'type': 'MultiStepLR', 'milestones': [12], 'gamma': 0.5},
            'gan_opt': {'type': 'GANLoss', 'gan_type': 'wgan_softplus', 'loss_weight': 1.0},
            'r1_reg_weight': 10, 'path_batch_shrink': 2, 'path_reg_weight': 2, 'net_g_reg_every': 4,
            'net_d_reg_every': 5, 'mixing_prob': 0.9, 'net_d_iters': 1, 'net_d_init_iters': 0,
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 20, 'use_tb_logger': False},
    }  # fmt: skip


def trained(model: Any, networks: Any, seed: int = 0) -> tuple[list[dict[str, float]], list[torch.Tensor]]:
    """The losses of each iteration, and all weights after the last one.

    Args:
        networks: what holds ``net_g``, ``net_d`` and ``net_g_ema``.
        seed: of what the model draws.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    numbers = torch.Generator().manual_seed(1)
    losses = []
    for iteration in range(1, ITERATIONS + 1):
        model.update_learning_rate(iteration, warmup_iter=-1)
        model.feed_data({'gt': torch.rand(BATCH, 3, SIZE, SIZE, generator=numbers) * 2 - 1})
        model.optimize_parameters(iteration)
        losses.append({name: float(value) for name, value in model.get_current_log().items()})
    nets = (networks.net_g, networks.net_d, networks.net_g_ema)
    return losses, [value.detach().double() for net in nets for value in net.state_dict().values()]


def largest(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest ‖Δ‖/‖w‖ of a tensor; tensors of zeros on both sides are alike."""
    return max(float((a - b).norm() / b.norm().clamp(min=1e-30)) for a, b in zip(one, other, strict=True))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.long
def test_twenty_iterations_are_those_of_the_class_itself(tmp_path: Path) -> None:
    load_plugins()
    opt = options(tmp_path)
    theirs = StyleGAN2Model(copy.deepcopy(opt))
    ours = lookup('models', 'StyleGAN2Model')(copy.deepcopy(opt))
    assert isinstance(ours.model, StyleGAN2Model) and is_hosted(type(ours))
    expected, weights = trained(theirs, theirs)
    found, own = trained(ours, ours.model)
    # The penalties were due.
    assert sum('l_d_r1' in each for each in expected) == 4 and sum('l_g_path' in each for each in expected) == 5
    for mine, other in zip(found, expected, strict=True):
        assert mine == pytest.approx(other, rel=1e-5)
    assert largest(own, weights) <= 1e-4
    begun = torch.load(tmp_path / 'g.pth', weights_only=True)['params']
    moved = [float((now - begun[name]).norm() / begun[name].norm().clamp(min=1e-3))
             for name, now in ours.model.net_g.state_dict().items()]  # fmt: skip
    assert max(moved) > 0.01
    # Other draws are told apart.
    again = lookup('models', 'StyleGAN2Model')(copy.deepcopy(opt))
    assert largest(trained(again, again.model, seed=3)[1], weights) > 1e-2
