#!/usr/bin/env python
"""Trains BasicSR's model classes and ours from the same weights on the same batches, and says how far they come apart.

    python scripts/compare_with_basicsr.py --iterations 20

In float32 on one thread, by torch's plain Adam on both sides. Ours takes the fused one where nothing is said, which
rounds otherwise in the last bit; ``--fused`` shows what a GAN makes of that. Perceptual losses take the first layers of
a VGG-19 of random weights, the same on both sides.

For each recipe: the largest relative difference of a loss in any iteration, and the largest of a tensor of weights,
‖Δ‖/‖w‖, after the last one. The exit status is 1 if a loss differs by more than 1e-5 or a tensor by more than 1e-4.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
from messages import positive, says_what_is_wrong
from torch import Tensor, nn

from fsr_plugins.config.basicsr import translate
from fsr_plugins.models.base import FSRModel
from fsr_plugins.registry import MODEL_REGISTRY, build_network, load_plugins, lookup

Options = dict[str, Any]
#: What may differ at most: a loss, relatively, and a tensor of weights.
LOSSES, WEIGHTS = 1e-5, 1e-4
BATCH = 2

_ADAM = {'type': 'Adam', 'lr': 1e-4, 'weight_decay': 0, 'betas': [0.9, 0.99], 'foreach': False}
_L1 = {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'}
#: As BasicSR's files give them, but for the layer.
_PERCEPTUAL = {
    'type': 'PerceptualLoss', 'layer_weights': {'conv2_2': 1}, 'vgg_type': 'vgg19', 'use_input_norm': True,
    'range_norm': False, 'perceptual_weight': 1.0, 'style_weight': 0, 'criterion': 'l1',
}  # fmt: skip
_GAN = {
    'type': 'GANLoss', 'gan_type': 'vanilla', 'real_label_val': 1.0, 'fake_label_val': 0.0, 'loss_weight': 5e-3,
}  # fmt: skip
_D = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4}
_MSR = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 4}
_RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}
_EDSR = {
    'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'upscale': 2, 'res_scale': 1,
    'img_range': 255.0, 'rgb_mean': [0.4488, 0.4371, 0.4040],
}  # fmt: skip
_SWINIR = {
    'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 16, 'window_size': 8, 'img_range': 1.0,
    'depths': [2, 2], 'embed_dim': 12, 'num_heads': [2, 2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffle',
    'resi_connection': '1conv', 'drop_path_rate': 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A stage in BasicSR's words."""

    model: str
    scale: int
    gt_size: int
    network_g: Options
    train: Options
    network_d: Options | None = None

    def options(self, weights: Mapping[str, str]) -> Options:
        """The stage's options, with ``path`` as given."""
        opt: Options = {
            'name': 'compared', 'model_type': self.model, 'scale': self.scale, 'num_gpu': 0, 'is_train': True,
            'dist': False, 'rank': 0, 'datasets': {}, 'network_g': self.network_g, 'path': dict(weights),
            'train': {
                'total_iter': 1000, 'ema_decay': 0.999, 'optim_g': _ADAM,
                'scheduler': {'type': 'MultiStepLR', 'milestones': [10], 'gamma': 0.5}, **self.train,
            },
        }  # fmt: skip
        if self.network_d is not None:
            opt['network_d'] = self.network_d
        return copy.deepcopy(opt)


_AGAINST = {
    'optim_d': {**_ADAM},  # BasicSR takes the type out of each
    'pixel_opt': {**_L1, 'loss_weight': 1e-2},
    'perceptual_opt': _PERCEPTUAL,
    'gan_opt': _GAN,
    'net_d_iters': 1,
    'net_d_init_iters': 0,
}
RECIPES: dict[str, Recipe] = {
    'EDSR': Recipe('SRModel', 2, 32, _EDSR, {'pixel_opt': _L1}),
    'SwinIR': Recipe('SwinIRModel', 2, 32, _SWINIR, {'pixel_opt': _L1}),
    'MSRGAN': Recipe('SRGANModel', 4, 128, _MSR, _AGAINST, _D),
    'ESRGAN': Recipe('ESRGANModel', 4, 128, _RRDB, _AGAINST, _D),
    'MSRGAN, net_d_iters 2': Recipe(
        'SRGANModel', 4, 128, _MSR, {**_AGAINST, 'net_d_iters': 2, 'net_d_init_iters': 4}, _D
    ),
}
#: What BasicSR calls our losses.
_NAMES = {
    'l_pix': [['l_pix'], ['l_g_pix']],
    'l_percep': [['l_percep'], ['l_g_percep']],
    'l_gan': [['l_g_gan']],
    'l_d': [['l_d_real', 'l_d_fake']],
}


@dataclass(frozen=True)
class Difference:
    """How far two trainings of a recipe came apart."""

    loss: float  #: the largest relative difference of a loss in any iteration
    weights: float  #: the largest ‖Δ‖/‖w‖ of a tensor after the last iteration
    losses: int  #: how many values of losses were compared
    tensors: int  #: how many tensors


@contextmanager
def random_vgg() -> Iterator[None]:
    """Inside, BasicSR's perceptual loss finds a VGG-19 of random weights, always the same, and downloads nothing."""
    from basicsr.archs import vgg_arch
    from torchvision.models import vgg

    def built(**_: object) -> SimpleNamespace:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(19)
            return SimpleNamespace(features=vgg.make_layers(vgg.cfgs['E']))

    kept, vgg_arch.vgg = vgg_arch.vgg, SimpleNamespace(vgg19=built)
    try:
        yield
    finally:
        vgg_arch.vgg = kept


def compare(recipe: Recipe, iterations: int, folder: Path, fused: bool = False) -> Difference:
    """Trains both sides.

    Args:
        folder: for the weights that both begin with.
        fused: whether ours takes the fused Adam.
    """
    load_plugins()
    weights = _write_weights(recipe, folder)
    with random_vgg():
        theirs = MODEL_REGISTRY.get(recipe.model)(recipe.options(weights))
        opt = recipe.options(weights)
        translate(opt)
        for block in opt['train'].values() if fused else ():
            if isinstance(block, dict):
                block.pop('foreach', None)
        ours: FSRModel = lookup('models', opt['model_type'])(opt)
    largest, compared = 0.0, 0
    numbers = torch.Generator().manual_seed(1)
    for iteration in range(1, iterations + 1):
        size, small = recipe.gt_size, recipe.gt_size // recipe.scale
        gt, lq = (
            torch.randint(256, (BATCH, side, side, 3), generator=numbers, dtype=torch.uint8) for side in (size, small)
        )
        for model, batch in ((theirs, {'gt': _image(gt), 'lq': _image(lq)}), (ours, {'gt': gt, 'lq': lq})):
            model.update_learning_rate(iteration)
            model.feed_data(batch)
            model.optimize_parameters(iteration)
        for name, value in _losses(ours, theirs):
            expected = sum(theirs.log_dict[part] for part in name)
            largest = max(largest, abs(value - expected) / abs(expected))
            compared += 1
    pairs = list(_tensors(ours, theirs))
    apart = max(float((one - other).norm() / other.norm()) for one, other in pairs)
    return Difference(largest, apart, compared, len(pairs))


def _write_weights(recipe: Recipe, folder: Path) -> dict[str, str]:
    torch.manual_seed(0)
    paths = {}
    for letter, block in (('g', recipe.network_g), ('d', recipe.network_d)):
        if block is not None:
            state = build_network(block).state_dict()
            paths[f'pretrain_network_{letter}'] = str(folder / f'{letter}.pth')
            torch.save({'params': state, 'params_ema': state}, folder / f'{letter}.pth')
    return paths


def _image(batch: Tensor) -> Tensor:
    return batch.permute(0, 3, 1, 2).float().contiguous() / 255


def _losses(ours: FSRModel, theirs: Any) -> Iterator[tuple[list[str], float]]:
    """Each loss of ours of this iteration, with what BasicSR calls it; those of an earlier one are passed over."""
    log = ours.get_current_log()
    for name, value in log.items():
        for names in _NAMES[name]:
            if all(part in theirs.log_dict for part in names):
                yield names, value


def _tensors(ours: FSRModel, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    nets: list[tuple[nn.Module, nn.Module]] = [(net, getattr(theirs, label)) for label, net in ours.trainable().items()]
    nets.append((ours.average['net_g'].net, theirs.net_g_ema))
    for net, other in nets:
        yield from zip(_detached(net), _detached(other), strict=True)


def _detached(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().double() for parameter in net.parameters()]


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iterations', type=positive, default=20)
    parser.add_argument('--fused', action='store_true', help='ours by the fused Adam')
    parser.add_argument('recipes', nargs='*', metavar='RECIPE', help=f'of {", ".join(RECIPES)}; default: all')
    given = parser.parse_args(arguments)
    unknown = [name for name in given.recipes if name not in RECIPES]
    if unknown:
        parser.error(f'there is no recipe {unknown[0]!r}: {", ".join(RECIPES)}')
    torch.set_num_threads(1)
    worst = 0
    for name in given.recipes or RECIPES:
        with TemporaryDirectory() as folder:
            found = compare(RECIPES[name], given.iterations, Path(folder), given.fused)
        good = found.loss <= LOSSES and found.weights <= WEIGHTS
        worst |= not good
        print(
            f'{name:<24}{found.losses} losses, at most {found.loss:.1e} apart; {found.tensors} tensors, at most '
            f'{found.weights:.1e} apart{"" if good else ": too far"}'
        )
    return worst


if __name__ == '__main__':
    sys.exit(main())
