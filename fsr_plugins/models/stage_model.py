"""A stage's networks on their device, and the batch that they are given: what training and set generation share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fsr_plugins.config.settings import StageSettings, read_settings
from fsr_plugins.metrics.psnr_ssim import luma
from fsr_plugins.models import networks
from fsr_plugins.models.networks import Net, bare
from fsr_plugins.models.precision import Precision
from fsr_plugins.registry import build
from fsr_plugins.threads import one_thread
from fsr_plugins.values import Batch, Block, Options

from basicsr.models.base_model import BaseModel  # isort: skip


def device_of(options: StageSettings) -> torch.device:
    """Where a stage's networks are: the current GPU, unless the CPU is asked for or there is none."""
    if options.num_gpu == 0 or not torch.cuda.is_available():
        return torch.device('cpu')
    return torch.device('cuda', torch.cuda.current_device())


class StageModel(BaseModel):
    """Builds the networks that a class declares and brings batches to the device.

    Attributes:
        options: the stage's options, typed.
        gt: HR batch, NCHW RGB float32 in [0, 1], on the device; None where the data has none; one channel, the luma,
            where the sets say ``color: y``.
        lq: LR batch likewise: the data's own, or made from ``gt`` by the option ``degradation``.
        batch: everything else the data holds, images like ``gt``, maps and numbers as they are.
        files: the keys of the batch's images.
    """

    networks: ClassVar[Mapping[str, Net]] = {}
    #: Whether its stage makes a set of images instead of training.
    generates_set: ClassVar[bool] = False

    gt: Tensor | None
    lq: Tensor | None
    batch: dict[str, Tensor]
    files: list[str]

    def __init__(self, opt: Options) -> None:
        """
        Args:
            opt: a complete stage, as in an option file, with BasicSR's run-time keys.

        Raises:
            UserError: a network or weight file cannot be had.
        """
        super().__init__({**opt, 'num_gpu': 0})  # the device is chosen below: BasicSR takes CUDA unless this is 0
        self.opt = opt
        self.options = read_settings(opt)
        self.device = device_of(self.options)
        self.precision = Precision(self.options.precision, self.device)
        self.degradation: nn.Module | None = None
        if self.options.degradation:
            self.degradation = build('degradations', self.options.degradation).to(self.device)
        for label, use in self.networks.items():
            setattr(self, label, networks.make_network(label, use, self.options, self.device))

    def feed_data(self, data: Batch) -> None:
        """Brings a batch to the device: uint8 NHWC images become float NCHW in [0, 1] there; LR is made there."""
        self.files = list(data.get('gt_path') or data.get('lq_path') or [])
        with one_thread(self.device):
            self.batch = {}
            for key, value in data.items():
                if not isinstance(value, Tensor):
                    continue
                moved = value.to(self.device, non_blocking=True)
                if moved.ndim == 4 and moved.dtype == torch.uint8:
                    layout = torch.channels_last if self.options.channels_last is True else torch.contiguous_format
                    # Two steps: laying out anew and dividing at once takes one and a half times as long on a CPU.
                    moved = moved.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout).div_(255)
                    moved = luma(moved) if self.options.luma and moved.shape[1] == 3 else moved
                self.batch[key] = moved
            self.gt, self.lq = self.batch.get('gt'), self.batch.get('lq')
            if self.lq is None and self.gt is not None and self.degradation is not None:
                with torch.no_grad():
                    self.lq = self.degradation(self.gt, self.batch.get('seed'))

    @classmethod
    def declared_networks(cls, opt: Options) -> Mapping[str, Net]:
        """What the class does with each network of a stage, by label; all of :attr:`networks`, present or not."""
        return cls.networks

    def trainable(self) -> dict[str, nn.Module]:
        """The networks that learn, without their wrappers."""
        return {
            label: bare(getattr(self, label))
            for label, use in self.networks.items()
            if not use.frozen and getattr(self, label) is not None
        }

    @classmethod
    def composite_blocks(cls, opt: Options) -> dict[str, Block]:
        """The networks that are put together of others when they are saved: by label, the block that builds each."""
        return {}
