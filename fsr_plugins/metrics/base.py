"""What every metric is, and the mean of a per-image value gathered over processes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.weights import WeightFile
from fsr_plugins.wording import kind_of

logger = logging.getLogger(__name__)

#: How the convention of a metric begins that has no value here; what is missing follows.
ABSENT = 'absent: '


class BatchMeta(TypedDict, total=False):
    """What is known of a batch's images beside their pixels.

    Attributes:
        keys, gt_path, lq_path: lists of file keys, to name an image in a message.
        landmarks: (N, 5, 2) where the set has this view.
        identity: (N,) where the set has this view.
        net: the name of the network whose images these are, ``HR`` of HR itself.
        cache: for what is computed of this batch and wanted by several metrics or networks.
    """

    keys: Sequence[str]
    gt_path: Sequence[str]
    lq_path: Sequence[str]
    landmarks: Tensor
    identity: Tensor
    net: str
    cache: dict[tuple[str, ...], Tensor]


class Metric(ABC):
    """A figure of merit over a set of images, built up batch by batch.

    Attributes:
        convention: how the value is taken, e.g. ``'RGB, border 0, uint8'``; printed beside the name.
        better: the direction of improvement.
        needs_gt: whether ``update`` wants a reference image for each image.
        by_image: whether an image is compared with another one of its own, its HR or others of its person; a generated
            face has none.
        rates_gt: whether the value of the reference images themselves says something (recognition does): validation
            then gives it too.
        last: per-image values (N,) of the latest update by name, on the device; empty where a metric has none.
        outcomes: per-pair values (n,) of the latest ``compute`` by name, where the value is a mean over pairs of
            images; empty elsewhere.
        pair_keys: keys of the first and of the second images of these pairs, n each, by the same names; without
            them a benchmark gives the value no interval.
    """

    better: ClassVar[Literal['higher', 'lower']]
    needs_gt: ClassVar[bool]
    by_image: ClassVar[bool] = True
    rates_gt: ClassVar[bool] = False

    def __init__(self, convention: str) -> None:
        self.convention = convention
        self.last: dict[str, Tensor] = {}
        self.outcomes: dict[str, Tensor] = {}
        self.pair_keys: dict[str, tuple[list[str], list[str]]] = {}

    @classmethod
    def requirements(cls, **options: Any) -> list[WeightFile]:
        """The weight files that an object built with ``options`` loads; preflight fetches them before anything runs."""
        return []

    def check_set(  # noqa: B027  (most metrics have nothing to check)
        self, keys: Sequence[str], identities: npt.NDArray[np.int64] | None
    ) -> None:
        """Whether the images of a set can give the values, asked before a training; of most metrics any can.

        Args:
            keys: of the images, unique.
            identities: whose they are (n,); None where nothing says it, which :meth:`update` may refuse.

        Raises:
            UserError: they cannot.
        """

    @abstractmethod
    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """Takes in one batch.

        Args:
            sr: result, NCHW RGB in [0, 1], quantised to multiples of 1/255, on any device.
            gt: reference of the same shape, or None for metrics without ``needs_gt``.
            meta: what else is known of the batch.

        Raises:
            UserError: an image that the metric cannot be taken of.
        """

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The values over all images of all processes since the last call; starts afresh afterwards.

        Of several, the first is the metric's own; the others are shown behind it under its name and theirs. None of a
        metric that is absent: nothing takes its place.

        Every process must call it, one that saw no image too.

        Raises:
            UserError: no process saw an image.
        """


class MeanMetric(Metric):
    """The mean of a value each image has by itself. Sums are kept in float64 on the device, without waiting for it.

    A subclass gives :meth:`values`; ``name`` is the key of the result.
    """

    name: ClassVar[str]

    def __init__(self, convention: str) -> None:
        """
        Args:
            convention: how the value is taken; beginning with :data:`ABSENT` where it cannot be: the metric then takes
                in nothing and has no value, and says so once.
        """
        super().__init__(convention)
        self.absent = convention.startswith(ABSENT)
        if self.absent:
            _warn(f"The metric '{self.name}' is {convention}")
        self._reset()

    def _reset(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    @abstractmethod
    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """The value of each image, shape (N,). Arguments as in :meth:`Metric.update`, with shapes already compared."""

    @torch.no_grad()
    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`Metric.update`. Mixed precision is switched off inside: values are taken in full precision."""
        if self.absent:
            return
        if self.needs_gt:
            check_pair(sr, gt, self.name, meta)
        with torch.autocast(sr.device.type, enabled=False):
            values = self.values(sr.float(), None if gt is None else gt.float())
        check_values(self, values, len(sr))
        self.last = {self.name: values}
        total = values.sum(dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(values)

    def compute(self) -> dict[str, float]:
        """See :meth:`Metric.compute`. The mean is infinite if a value is (PSNR of identical images)."""
        total = torch.zeros((), dtype=torch.float64) if self._sum is None else self._sum
        # What one process cannot measure is measured by none, and all of them take part in the exchange.
        counts = total.new_tensor([self._count, self.absent])
        gathered = all_reduce_sum(torch.cat([total[None], counts])).tolist()
        self._reset()
        if gathered[2]:
            return {}
        if gathered[1] == 0:
            raise UserError(f"The metric '{self.name}' saw no image: the validation set is empty.")
        return {self.name: gathered[0] / gathered[1]}


def no_metric(found: object) -> str:
    """What is registered as a metric and is none here; completes "is 'x', …"."""
    if getattr(found, '__module__', '').startswith('basicsr.'):
        return "a function of BasicSR's. `fsr list metrics` shows ours."
    kind = "a class without 'update'" if isinstance(found, type) else 'no class'
    return f'{kind}: metrics are classes here, derived from Metric; docs/adding_a_metric.md shows one.'


def check_values(metric: Metric, values: object, number: int) -> None:
    """Sees that a metric, which may be anybody's, gave a value for each of ``number`` images.

    Raises:
        UserError: it gave something else.
    """
    if not isinstance(values, Tensor) or values.shape != (number,):
        raise UserError(
            f"The metric '{type(metric).__name__}' must give one value for each image, a tensor of shape ({number},), "
            f'and gave {kind_of(values)}.'
        )


def figures_of(metric: Metric) -> dict[str, float]:
    """:meth:`Metric.compute` of a metric that may be anybody's.

    Raises:
        UserError: it gave anything but numbers by name; or as the metric raises.
    """
    found: object = metric.compute()
    if not isinstance(found, dict):
        said = kind_of(found)
    elif not (wrong := [value for value in found.values() if not _is_number(value)]):
        # Numbers of NumPy's and torch's own are no plain values, which training states and JSON are made of.
        return {str(name): value if type(value) in (int, float) else float(value) for name, value in found.items()}
    else:
        said = f'in a dict {kind_of(wrong[0])}'
    name = type(metric).__name__
    raise UserError(f"'compute' of the metric '{name}' must give a dict of numbers, and gave {said}.")


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


@lru_cache
def _warn(message: str) -> None:
    """Once a process: every network has a metric of its own."""
    logger.warning('%s', message)


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes, on the CPU; ``tensor`` itself in a single process.

    The device of the exchange follows from the process group: a process that saw no image knows no device.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return tensor.cpu()
    device = torch.device('cuda', torch.cuda.current_device()) if dist.get_backend() == 'nccl' else torch.device('cpu')
    # A copy, because the exchange is in place.
    tensor = tensor.detach().to(device, copy=True)
    dist.all_reduce(tensor)
    return tensor.cpu()


def check_pair(sr: Tensor, gt: Tensor | None, name: str, meta: BatchMeta) -> None:
    """Compares the shapes of a result and its reference.

    Raises:
        UserError: there is no reference, or it has another shape.
    """
    if gt is None:
        raise UserError(f"The metric '{name}' needs reference images, and this set has none: remove the metric.")
    if sr.shape != gt.shape:
        raise UserError(
            f"The metric '{name}' got a result of {size_of(sr)} for a reference of {size_of(gt)} "
            f"({first_image(meta)}): the network's scale does not fit the images."
        )


def check_border(border: object, name: str) -> None:
    """A border is a whole number of pixels.

    Raises:
        UserError: it is something else.
    """
    if isinstance(border, bool) or not isinstance(border, int) or border < 0:
        raise UserError(f"'crop_border' of the metric '{name}' is {border}: give a whole number of pixels, 0 or more.")


def size_of(images: Tensor) -> str:
    """Height and width of NCHW images for a message."""
    return f'{images.shape[-2]}×{images.shape[-1]}'


def first_image(meta: BatchMeta) -> str:
    """The name of a batch's first image for a message."""
    names = meta.get('keys') or meta.get('gt_path') or meta.get('lq_path')
    return f"batch of '{names[0]}'" if names else 'image names unknown'
