"""What is compared: a network of a checkpoint, bicubic enlargement, or images that are there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fsr_plugins.bench.colours import ColourMatch
from fsr_plugins.bench.others import OthersImages
from fsr_plugins.checkpoints import load
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.models.evaluation import Network
from fsr_plugins.weights import file_sha256

#: From LR (N, 3, h, w) and the N keys of the test faces to SR (N, 3, H, W), RGB in [0, 1].
Restorer = Callable[[Tensor, Sequence[str]], Tensor]


@dataclass(frozen=True)
class Candidate:
    """What is compared: its name, and the checkpoint or the images it comes from."""

    name: str
    checkpoint: Path | None = None  #: None, and no images: bicubic enlargement, or HR itself
    param_key: str | None = None
    images: OthersImages | None = None
    colours: ColourMatch | None = None  #: what bicubic enlargement's colours are set right by

    def cache_key(self) -> dict[str, object]:
        """What its images depend on, for the cache."""
        if self.images is not None:
            return {'images': self.images.checksum, 'by_key': dict(self.images.by_key)}
        if self.colours is not None:
            return {'colours': asdict(self.colours)}
        if self.checkpoint is None:
            return {'name': self.name}
        return {'sha256': file_sha256(self.checkpoint), 'param_key': self.param_key}

    def restorer(self, scale: int, device: torch.device) -> Restorer:
        """What gives its images of test faces."""
        if self.images is not None:
            images = self.images
            return lambda lq, keys: images.batch(keys, device)
        net = self.network(scale, device)
        return lambda lq, keys: net(lq)

    def network(self, scale: int, device: torch.device) -> Network:
        """From LR to SR, NCHW RGB in [0, 1]; not of images that are there already."""
        if self.colours is not None:
            match = self.colours
            return lambda lq: match(bicubic_up(lq, scale))
        if self.checkpoint is None:
            return lambda lq: bicubic_up(lq, scale)
        return self.module().to(device)

    def module(self) -> nn.Module:
        """The network of the checkpoint, in evaluation mode."""
        assert self.checkpoint is not None  # who has one
        return load(self.checkpoint, param_key=self.param_key)
