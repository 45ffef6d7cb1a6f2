"""A model and a dataset of a package for BasicSR, as others write them; an option file names this module as a plugin.

The model keeps what BasicSR's own states lose: a queue of earlier images, a moving mean, a counter, a generator, a
network that is trained at first and then is not, and an optimiser of a lone tensor.
"""

from __future__ import annotations

import os
import random
import signal
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.metrics import calculate_metric
from basicsr.models.base_model import BaseModel
from basicsr.utils import tensor2img
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
from torch.nn import functional

#: The iteration at whose end a run kills itself.
KILLED_AT = 'OWN_HOSTED_KILLED_AT'


@DATASET_REGISTRY.register()
class CutAtRandom:
    """HR crops by Python's generator, noise of LR by NumPy's and torch's."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.files = sorted(Path(opt['dataroot_gt']).glob('*.png'))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = cv2.imread(str(self.files[index]))[:, :, ::-1].astype(np.float32) / 255
        if self.opt['phase'] == 'train':
            top, left = random.randrange(image.shape[0] - 15), random.randrange(image.shape[1] - 15)
            image = image[top : top + 16, left : left + 16]
        gt = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        lq = functional.avg_pool2d(gt, 4)
        if self.opt['phase'] == 'train':
            lq = lq + 0.1 * float(np.random.rand()) * torch.rand_like(lq)
        return {'lq': lq, 'gt': gt, 'lq_path': str(self.files[index]), 'gt_path': str(self.files[index])}


@MODEL_REGISTRY.register()
class QueueModel(BaseModel):
    """Trains on a mixture of a batch and of earlier ones."""

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.net_g = self.model_to_device(build_network(opt['network_g']))
        if path := opt['path'].get('pretrain_network_g'):
            self.load_network(self.net_g, path, opt['path'].get('strict_load_g', True))
        if self.is_train:
            self.weight = torch.zeros(1, requires_grad=True, device=self.device)
            self.optimizers.append(self.get_optimizer('Adam', self.net_g.parameters(), lr=1e-3))
            self.optimizers.append(torch.optim.SGD([self.weight], lr=0.1, momentum=0.9))
            self.setup_schedulers()
            self.recent: deque[float] = deque(maxlen=3)
            self.numbers = np.random.default_rng(5)
            self.seen = {'images': 0, 'means': [0.0]}

    def feed_data(self, data: dict[str, Any]) -> None:
        self.lq, self.gt = data['lq'].cuda(), data['gt'].to(self.device)
        if not self.is_train or 'train' not in self.opt:
            return
        if not hasattr(self, 'queue'):
            self.queue = torch.zeros(4, *self.lq.shape[1:], device='cuda')
            self.mean = torch.zeros(3, device='cuda')

    def optimize_parameters(self, current_iter: int) -> None:
        if current_iter == 2:
            for name, parameter in self.net_g.named_parameters():
                parameter.requires_grad = 'conv_last' in name
        if current_iter == 6:
            self.net_g.requires_grad_(True)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        chosen = self.queue[torch.randperm(4)[: len(self.lq)]]
        mixed = self.lq + float(self.numbers.random()) * chosen * torch.sigmoid(self.weight)
        self.output = self.net_g(mixed)
        loss = functional.l1_loss(self.output, self.gt) + (self.mean.detach() - self.output.mean((0, 2, 3))).abs().sum()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.mean = 0.9 * self.mean + 0.1 * self.gt.mean((0, 2, 3))
        self.queue = torch.cat([self.queue, self.lq])[-4:]
        self.recent.append(loss.item())
        self.seen['images'] += len(self.lq)
        self.seen['means'].append(sum(self.recent))
        self.log_dict = self.reduce_loss_dict(OrderedDict(l_all=loss))
        if os.environ.get(KILLED_AT) == str(current_iter) and 'experiments' in self.opt['path']['models']:
            os.kill(os.getpid(), signal.SIGKILL)

    def validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool = False) -> None:
        self.net_g.eval()
        values = []
        for data in dataloader:
            with torch.no_grad():
                images = [tensor2img([self.net_g(data['lq'].cuda())]), tensor2img([data['gt']])]
            found = dict(zip(('img', 'img2'), images, strict=True))
            values.append(calculate_metric(found, self.opt['val']['metrics']['psnr']))
        self.net_g.train()
        tb_logger.add_scalar(f'metrics/{dataloader.dataset.opt["name"]}/psnr', np.mean(values), current_iter)

    def save(self, epoch: int, current_iter: int) -> None:
        self.save_network(self.net_g, 'net_g', current_iter)
        self.save_training_state(epoch, current_iter)
