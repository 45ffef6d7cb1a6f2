"""Validation over all ranks: one pass over a set, several networks, several metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import cv2
from torch import Tensor

from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric
from fsr_plugins.models.networks import evaluating
from fsr_plugins.registry import build
from fsr_plugins.threads import one_thread

#: Values of a set by network and metric.
Results = dict[str, dict[str, float]]
#: From LR to SR, both NCHW RGB in [0, 1].
Network = Callable[[Tensor], Tensor]


def quantise(image: Tensor) -> Tensor:
    """The image as it would come back from an 8-bit file: clamped to [0, 1], in steps of 1/255, float32."""
    with one_thread(image.device):
        return image.float().clamp(0, 1).mul_(255).round_().div_(255)


#: The name under which the figures of HR itself stand, for the metrics that rate it.
HR = 'HR'
#: The views of a set that metrics are told of.
_VIEWS = ('landmarks', 'identity')


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
        has_gt: whether the set knows the true HR images; without, only metrics that need none are computed; with,
            those that rate HR itself give it a row too.
        pairs: by name, a network whose images are compared with those of another, in the place of HR.
        rate_hr: whether HR itself is given to the metrics that rate it.
    """

    def __init__(
        self,
        nets: Mapping[str, Network],
        metrics: Mapping[str, Mapping[str, Any]],
        has_gt: bool,
        pairs: Mapping[str, tuple[str, str]] | None = None,
        rate_hr: bool = True,
    ) -> None:
        self.nets = dict(nets)
        self.pairs = dict(pairs or {})
        self.metrics = {
            net: {name: metric for name, metric in build_metrics(metrics).items() if has_gt or not metric.needs_gt}
            for net in nets
        } | {
            pair: {name: metric for name, metric in build_metrics(metrics).items() if metric.needs_gt}
            for pair in self.pairs
        }
        if has_gt and rate_hr:
            rating = {name: metric for name, metric in build_metrics(metrics).items() if metric.rates_gt}
            self.metrics |= {HR: rating} if rating else {}

    def update(
        self, lq: Tensor, gt: Tensor | None, meta: dict[str, Any], cache: dict[Any, Any] | None = None
    ) -> dict[str, Tensor]:
        """Runs every network on one batch; returns the quantised images by network.

        Args:
            cache: what metrics have computed of this batch already, see :meth:`Metric.update`; they add to it.
        """
        images = {name: quantise(net(lq)) for name, net in self.nets.items()}
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
        """Gathers over the ranks; call it on all of them."""
        return {
            net: {key: value for name, metric in metrics.items() for key, value in _named(name, metric.compute())}
            for net, metrics in self.metrics.items()
        }


def _named(name: str, values: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """A metric's values under the name of its entry: the first as it is, ``<name>_<key>`` of further ones."""
    for number, (key, value) in enumerate(values.items()):
        yield (f'{name}_{key}' if number else name), value


def lq_of(model: Any, batch: dict[str, Any], name: str) -> Tensor:
    """Feeds a batch of the set ``name`` to the model and gives its LR images.

    Raises:
        UserError: there are none, and nothing that makes them.
    """
    model.feed_data(batch)
    if model.lq is None:
        raise UserError(f"The set '{name}' has no LR images and the option file has no 'degradation'.")
    return model.lq


def meta_of(model: Any) -> dict[str, Any]:
    """What metrics learn of the batch fed last besides its images: ``keys``, and the views that its set has."""
    return {'keys': model.files, **{view: model.batch[view] for view in _VIEWS if view in model.batch}}


def validate(model: Any, loader: Any, save_to: Path | None = None, suffix: str = '') -> Results:
    """Figures of bicubic, of ``model.validation_nets()`` and ``model.similarities()`` on one set, over all ranks.

    Args:
        loader: batches of ``loader.dataset``, this rank's share or all.
        save_to: folder for the images of ``result``; None for none.
        suffix: at the end of their names.
    """
    name, scale = loader.dataset.opt['name'], model.opt['scale']
    nets = model.validation_nets()
    # A network under two names (`result`, `snet`) runs once.
    first = {label: next(other for other in nets if nets[other] is net) for label, net in nets.items()}
    compared: dict[str, Network] = {label: nets[label] for label in dict.fromkeys(first.values())}
    pairs = {pair: (first[net], first[other]) for pair, (net, other) in model.similarities().items()}
    known = name in model.fixed_results
    if not known:
        compared['bicubic'] = lambda lq: bicubic_up(lq, scale)
    metrics = (model.opt.get('val') or {}).get('metrics') or {}
    evaluation = SetEvaluation(compared, metrics, getattr(loader.dataset, 'has_gt', True), pairs, rate_hr=not known)
    with evaluating(*nets.values()), model.precision.autocast():
        for batch in loader:
            lq = lq_of(model, batch, name)
            images = evaluation.update(lq, model.gt, meta_of(model))
            if save_to is not None:
                write_images(save_to, model.files, suffix, images['result'])
    results = evaluation.compute()
    for label in ('bicubic', HR):
        if label in results:
            model.fixed_results.setdefault(name, {})[label] = results[label]
    figures = {label: results[other] for label, other in first.items()}
    return {**model.fixed_results[name], **figures, **{pair: results[pair] for pair in pairs}}
