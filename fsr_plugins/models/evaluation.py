"""Figures of several networks by several metrics in one pass over a dataset, over all ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import cast

import cv2
from torch import Tensor

from fsr_plugins.archs.windows import enlarge
from fsr_plugins.atomic import writing
from fsr_plugins.metrics.base import BatchMeta, Metric, figures_of
from fsr_plugins.registry import build
from fsr_plugins.threads import one_thread
from fsr_plugins.values import Block, Record

#: Values of a set by network and metric.
Results = dict[str, dict[str, float]]
#: From LR to SR, both NCHW RGB in [0, 1].
Network = Callable[[Tensor], Tensor]


def quantise(image: Tensor) -> Tensor:
    """The image as it would come back from an 8-bit file: clamped to [0, 1], in steps of 1/255, float32."""
    with one_thread(image.device):
        return image.float().clamp(0, 1).mul_(255).round_().div_(255)


#: Whether what is measured is only to be tried.
_trying: ContextVar[bool] = ContextVar('_trying', default=False)


@contextmanager
def on_trial() -> Iterator[None]:
    """Inside, batches are measured but no figures made of them: a part of a set is too little for many metrics."""
    token = _trying.set(True)
    try:
        yield
    finally:
        _trying.reset(token)


#: The name under which the figures of HR itself stand, for the metrics that rate it.
HR = 'HR'


def build_metrics(blocks: Mapping[str, Block]) -> dict[str, Metric]:
    """The metrics an option block ``val.metrics`` names, by the names of their entries."""
    return {name: build('metrics', block) for name, block in blocks.items()}


def write_images(folder: Path, keys: Iterable[str], suffix: str, images: Tensor) -> None:
    """Writes a batch as PNG files ``<key>_<suffix>.png``; a key that is a path goes into folders of its own.

    Raises:
        DiskError: they cannot be written.
    """
    pixels = images.mul(255).round_().byte().permute(0, 2, 3, 1).flip(3).cpu().numpy()
    for key, image in zip(keys, pixels, strict=True):
        png = cv2.imencode('.png', image)[1].tobytes()
        # A key is whatever a store says: it must not lead out of the folder.
        parts = ['_' if part in ('', '.', '..') else part for part in key.split('/')]
        path = folder.joinpath(*parts[:-1], f'{parts[-1]}_{suffix}.png')
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)


class SetEvaluation:
    """Takes in batches of one validation set and gives each network's figures.

    Args:
        nets: what is compared, by name.
        metrics: the option block ``val.metrics``; each network gets its own instances.
        has_gt: whether the set knows the true HR images; without, only metrics that need none are computed; with,
            those that rate HR itself give it a row too.
        pairs: by name, a network whose images are compared with those of another, in the place of HR.
        rate_hr: whether HR itself is given to the metrics that rate it.
        images: names of what makes its images elsewhere, for :meth:`take`.
    """

    def __init__(
        self,
        nets: Mapping[str, Network],
        metrics: Mapping[str, Block],
        has_gt: bool,
        pairs: Mapping[str, tuple[str, str]] | None = None,
        rate_hr: bool = True,
        images: Iterable[str] = (),
    ) -> None:
        self.nets = dict(nets)
        self.pairs = dict(pairs or {})
        self.metrics = {
            net: {name: metric for name, metric in build_metrics(metrics).items() if has_gt or not metric.needs_gt}
            for net in (*nets, *images)
        } | {
            pair: {name: metric for name, metric in build_metrics(metrics).items() if metric.needs_gt}
            for pair in self.pairs
        }
        if has_gt and rate_hr:
            rating = {name: metric for name, metric in build_metrics(metrics).items() if metric.rates_gt}
            self.metrics |= {HR: rating} if rating else {}

    def update(
        self, lq: Tensor, gt: Tensor | None, meta: Record, cache: dict[tuple[str, ...], Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Runs every network on one batch; returns the quantised images by network.

        Args:
            cache: what metrics have computed of this batch already, see :meth:`Metric.update`; they add to it.
        """
        return self.take({name: enlarge(net, lq) for name, net in self.nets.items()}, gt, meta, cache)

    def take(
        self,
        made: Mapping[str, Tensor],
        gt: Tensor | None,
        meta: Record,
        cache: dict[tuple[str, ...], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Measures a batch of images by the names of what made them; returns them quantised.

        Args:
            made: NCHW RGB in [0, 1] or beyond, of HR's size.
            cache: as :meth:`update`'s.
        """
        images = {name: quantise(image) for name, image in made.items()}
        cache = {} if cache is None else cache
        compared = {name: (image, gt) for name, image in images.items()}
        if HR in self.metrics and gt is not None:
            compared[HR] = gt, gt
        for name, (image, reference) in compared.items():
            for metric in self.metrics[name].values():
                metric.update(image, reference, cast('BatchMeta', {**meta, 'net': name, 'cache': cache}))
        for pair, (net, other) in self.pairs.items():
            for metric in self.metrics[pair].values():
                # No cache: it would take the other network's images for HR.
                metric.update(images[net], images[other], cast('BatchMeta', meta))
        return images

    def compute(self) -> Results:
        """Gathers over the ranks; call it on all of them. No figures :func:`on_trial`."""
        if _trying.get():
            return {net: {} for net in self.metrics}
        return {
            # A metric's first value is called as its entry is, further ones ``<name>_<key>``.
            net: {
                f'{name}_{key}' if number else name: value
                for name, metric in metrics.items()
                for number, (key, value) in enumerate(figures_of(metric).items())
            }
            for net, metrics in self.metrics.items()
        }
