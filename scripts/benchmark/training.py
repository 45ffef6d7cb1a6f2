"""Iterations a second of an identical network on the same batch: ``train_cpu``, ``train_auto`` and ``train_gpu``."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.models.base_model import BaseModel  # isort: skip
from basicsr.models.sr_model import SRModel  # isort: skip
from basicsr.utils import get_root_logger  # isort: skip

from fsr_plugins.engine import distributed
from fsr_plugins.models import SupervisedModel
from fsr_plugins.models.precision import computes_bf16
from fsr_plugins.stores.images import read_image

from .faces import SCALE, Faces
from .process import Side
from .timing import Comparison, Effort, alternate, synchronise

BATCH = 8
NETWORK = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 16, 'upscale': SCALE}
OPTIMISER = {'type': 'Adam', 'lr': 1e-4, 'betas': [0.9, 0.99]}

Setting = Mapping[str, Any]

#: What our engine may be set to; the fastest is compared with BasicSR, which has none of these settings.
CPU_SETTINGS: tuple[Setting, ...] = ({}, {'channels_last': True})
#: What ``precision: auto`` and ``channels_last: auto`` choose from on a CPU.
AUTO_SETTINGS: tuple[Setting, ...] = (
    *CPU_SETTINGS,
    {'precision': 'bf16'},
    {'precision': 'bf16', 'channels_last': True},
)
GPU_SETTINGS: tuple[Setting, ...] = (
    {'channels_last': True},
    {'channels_last': True, 'precision': 'bf16'},
    {'channels_last': True, 'precision': 'bf16', 'compile': True},
    {'channels_last': True, 'precision': 'bf16', 'compile': 'reduce-overhead'},
)


def _train_block() -> dict[str, Any]:
    scheduler = {'type': 'MultiStepLR', 'milestones': [100_000], 'gamma': 0.5}
    return {'total_iter': 200_000, 'ema_decay': 0.999, 'pixel_opt': {'type': 'L1Loss'}, 'scheduler': scheduler}


def _options(device: torch.device, network: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'is_train': True, 'dist': False, 'rank': 0, 'num_gpu': int(device.type == 'cuda'), 'scale': SCALE, 'path': {},
        'network_g': dict(network),
    }  # fmt: skip


def make_basicsr(device: torch.device, network: Mapping[str, Any] = NETWORK) -> SRModel:
    """BasicSR's model with its defaults."""
    torch.manual_seed(0)
    return SRModel({**_options(device, network), 'train': {**_train_block(), 'optim_g': dict(OPTIMISER)}})


def make_ours(device: torch.device, setting: Setting, network: Mapping[str, Any] = NETWORK) -> SupervisedModel:
    """Our model of the same initial weights."""
    torch.manual_seed(0)
    train = {**_train_block(), 'optim': dict(OPTIMISER)}
    return SupervisedModel({**_options(device, network), **setting, 'train': train})


def make_batches(faces: Faces) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same pairs as either side's loader hands them out: ours uint8 NHWC, BasicSR's float NCHW."""
    names = [path.name for path in sorted(faces.gt.iterdir())[:BATCH]]
    ours = {
        key: torch.from_numpy(np.stack([read_image(folder / name) for name in names]))
        for key, folder in (('gt', faces.gt), ('lq', faces.lq))
    }
    basicsr = {key: images.permute(0, 3, 1, 2).float().div(255).contiguous() for key, images in ours.items()}
    return ours, basicsr


class Trainee:
    """A model with its batch, trained some iterations at a time."""

    def __init__(self, model: BaseModel, batch: dict[str, Any], device: torch.device, iterations: int) -> None:
        self.model, self.batch, self.device, self.iterations = model, batch, device, iterations
        self.current_iter = 0

    def step(self) -> None:
        """What both training loops do in an iteration."""
        self.current_iter += 1
        self.model.update_learning_rate(self.current_iter)
        self.model.feed_data(self.batch)
        self.model.optimize_parameters(self.current_iter)

    def loss(self) -> float:
        """Trains one iteration and gives its loss."""
        self.step()
        return float(self.model.get_current_log()['l_pix'])

    def run(self) -> float:
        """Iterations a second."""
        synchronise(self.device)
        started = time.perf_counter()
        for _ in range(self.iterations):
            self.step()
        synchronise(self.device)
        return self.iterations / (time.perf_counter() - started)


def basicsr_trainee(faces: Faces, device: torch.device, network: Mapping[str, Any], iterations: int) -> Trainee:
    """BasicSR's side, set up as its ``train_pipeline`` does."""
    get_root_logger(log_level=logging.WARNING)
    torch.backends.cudnn.benchmark = True
    return Trainee(make_basicsr(device, network), make_batches(faces)[1], device, iterations)


def our_trainee(
    faces: Faces, device: torch.device, network: Mapping[str, Any], iterations: int, setting: Setting
) -> Trainee:
    """Our side, set up as our pipeline does."""
    distributed.start('none', int(device.type == 'cuda'))
    distributed.choose_algorithms(deterministic=False)
    return Trainee(make_ours(device, setting, network), make_batches(faces)[0], device, iterations)


def compare(
    name: str,
    faces: Faces,
    device: torch.device,
    effort: Effort,
    settings: Sequence[Setting],
    network: Mapping[str, Any] = NETWORK,
) -> Comparison:
    """Trains both sides, each in a process of its own, ours with the one of ``settings`` that proves fastest.

    Raises:
        AssertionError: the first iterations' losses differ, so the work is not the same.
    """
    common = (faces, device, network, effort.iterations[device.type == 'cuda'])
    with ExitStack() as stack:
        # All begin at once: of a short run on a GPU most is imports.
        basicsr = stack.enter_context(Side(basicsr_trainee, *common, wait=False))
        sides = [
            (setting, stack.enter_context(Side(our_trainee, *common, setting, wait=False))) for setting in settings
        ]
        for side in (basicsr, *(side for _, side in sides)):
            side.wait()
        loss = basicsr.call('loss')
        candidates: list[tuple[float, Setting, Side]] = []
        for setting, ours in sides:
            own = ours.call('loss')
            if not math.isclose(own, loss, rel_tol=2e-2 if 'precision' in setting else 1e-3):  # a GPU's is TF32
                raise AssertionError(f'The first loss is {loss} in BasicSR, {own} in ours with {dict(setting)}')
            candidates.append((max(ours.call('run'), ours.call('run')), setting, ours))
        _, setting, ours = max(candidates, key=lambda candidate: candidate[0])
        pair = alternate(lambda: ours.call('run'), lambda: basicsr.call('run'), effort.runs)
    shown = ', '.join(f'{key} {value}' for key, value in setting.items()) or 'defaults'
    how = f'EDSR ×{SCALE}, batch {BATCH}, EMA, Adam; ours: {shown}'
    tried = [{'setting': dict(one), 'rate': rate} for rate, one, _ in candidates]
    return Comparison(name, 'it/s', pair.ours, pair.basicsr, how, details={'setting': dict(setting), 'tried': tried})


def train_cpu(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """On the CPU, whatever the device of the other measurements is."""
    return compare('train_cpu', faces, torch.device('cpu'), effort, CPU_SETTINGS)


def train_auto(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """As ``train_cpu``, with what ``precision: auto`` may take; BasicSR has fp32 alone."""
    settings = AUTO_SETTINGS if computes_bf16(torch.device('cpu')) else CPU_SETTINGS
    return compare('train_auto', faces, torch.device('cpu'), effort, settings)


def train_gpu(faces: Faces, device: torch.device, effort: Effort) -> Comparison | None:
    """On the GPU; None without one."""
    return compare('train_gpu', faces, device, effort, GPU_SETTINGS) if device.type == 'cuda' else None
