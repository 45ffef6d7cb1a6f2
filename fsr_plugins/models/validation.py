"""Validation over all ranks: one pass over a set, several networks, several metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from fsr_plugins.metrics.base import Metric
from fsr_plugins.registry import build

#: Values of a set by network and metric.
Results = dict[str, dict[str, float]]
#: From LR to SR, both NCHW RGB in [0, 1].
Network = Callable[[Tensor], Tensor]


def quantise(image: Tensor) -> Tensor:
    """The image as it would come back from an 8-bit file: clamped to [0, 1], in steps of 1/255, float32."""
    return image.float().clamp(0, 1).mul(255).round_().div_(255)


def build_metrics(blocks: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics an option block ``val.metrics`` names, by the names of their entries."""
    return {name: build('metrics', block) for name, block in blocks.items()}


def write_images(folder: Path, keys: Iterable[str], suffix: str, images: Tensor) -> None:
    """Writes a batch as PNG files ``<key>_<suffix>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = images.mul(255).round_().byte().permute(0, 2, 3, 1).flip(3).cpu().numpy()
    for key, image in zip(keys, pixels, strict=True):
        cv2.imwrite(str(folder / f'{key.replace("/", "_")}_{suffix}.png'), image)


class SetEvaluation:
    """Takes in batches of one validation set and gives each network's figures.

    Args:
        nets: what is compared, by name.
        metrics: the option block ``val.metrics``; each network gets its own instances.
        has_gt: whether the set knows the true HR images; without, only metrics that need none are computed.
    """

    def __init__(self, nets: Mapping[str, Network], metrics: Mapping[str, Mapping[str, Any]], has_gt: bool) -> None:
        self.nets = dict(nets)
        self.metrics = {
            net: {name: metric for name, metric in build_metrics(metrics).items() if has_gt or not metric.needs_gt}
            for net in nets
        }

    def update(self, lq: Tensor, gt: Tensor | None, meta: dict[str, Any]) -> dict[str, Tensor]:
        """Runs every network on one batch; returns the quantised images by network."""
        images = {name: quantise(net(lq)) for name, net in self.nets.items()}
        for name, image in images.items():
            for metric in self.metrics[name].values():
                metric.update(image, gt, meta)
        return images

    def compute(self) -> Results:
        """Gathers over the ranks; call it on all of them."""
        return {
            net: {name: next(iter(metric.compute().values())) for name, metric in metrics.items()}
            for net, metrics in self.metrics.items()
        }


@torch.no_grad()
def evaluate_set(
    batches: Iterable[dict[str, Any]],
    feed: Callable[[dict[str, Any]], tuple[Tensor, Tensor | None, list[str]]],
    nets: Mapping[str, Network],
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    has_gt: bool,
    on_images: Callable[[list[str], dict[str, Tensor]], None] | None = None,
) -> Results:
    """Evaluates ``nets`` on all batches of a set.

    Args:
        feed: brings a batch to the device and gives (lq, gt or None, keys).
        on_images: is handed each batch's keys and images, for saving.
    """
    evaluation = SetEvaluation(nets, metrics, has_gt)
    for batch in batches:
        lq, gt, keys = feed(batch)
        images = evaluation.update(lq, gt, {'keys': keys})
        if on_images is not None:
            on_images(keys, images)
    return evaluation.compute()
