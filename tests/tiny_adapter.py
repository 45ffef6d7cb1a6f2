"""A network small enough for a test that says which model adapts it, and that model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.config.settings import read_settings
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net, freeze
from fsr_plugins.models.strategies import SuperResolution
from fsr_plugins.registry import ARCH_REGISTRY, MODEL_REGISTRY

SIZE = 16
DEGRADATION = {'type': 'BicubicDown', 'scale': 2}
ARCH = {'type': 'TinyAdaptNet', 'num_feat': 4}
TRAIN = {'total_iter': 3, 'optim': {'type': 'Adam', 'lr': 0.01}, 'pixel_opt': {'type': 'L1Loss'}}


@ARCH_REGISTRY.register()
class TinyAdaptNet(nn.Module):
    """Doubles an image's sides by two layers, of which adaptation trains the second."""

    adapter: ClassVar[str] = 'TinyAdaptModel'

    def __init__(self, num_feat: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, num_feat, 3, padding=1)
        self.style = nn.Conv2d(num_feat, 12, 3, padding=1)

    def forward(self, lq: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.style(self.body(lq)), 2)


class BesideSource(SuperResolution[Any]):
    """The network before and after."""

    def networks(self, model: Any) -> dict[str, nn.Module]:
        return {'source_only': model.source, **super().networks(model)}


@MODEL_REGISTRY.register()
class TinyAdaptModel(FSRModel):
    networks = {'net_sr': Net(result=True)}
    evaluation = BesideSource()

    class Train(TrainOptions):
        pixel_opt: Loss = Loss.required('L1 to HR')
        feature_opt: Loss | None = Loss.field('distance by features')

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.source = freeze(copy.deepcopy(self.net_sr))

    @classmethod
    def adaptation_options(cls, meta: Mapping[str, Any]) -> dict[str, Any]:
        return {
            'network_sr': meta['arch'],
            'num_gpu': 0,
            'train': copy.deepcopy(TRAIN),
            'datasets': {'train': {'gt_size': SIZE}},
        }

    def is_trainable(self, label: str, name: str) -> bool:
        return name.startswith('style.')

    def step(self) -> None:
        with self.phase('net_sr') as losses:
            sr = self.net_sr(self.lq)
            losses['l_pix'] = self.losses.pixel_opt(sr, self.gt)
            if 'feature_opt' in self.losses:
                losses['l_feature'] = self.losses.feature_opt(sr, self.gt)

    def preview(self) -> Tensor:
        return torch.cat([self.net_sr(self.lq)[0], self.gt[0]], dim=2)


def write_checkpoint(path: Path) -> Path:
    """A trained network as a stage leaves it."""
    torch.manual_seed(0)
    opt = {'name': 'source_train', 'scale': 2, 'degradation': DEGRADATION, 'datasets': {'train': {'name': 'source'}}}
    save_network(path, {'params': TinyAdaptNet(4)}, describe('net_sr', ARCH, 7, read_settings(opt).training()))
    return path
