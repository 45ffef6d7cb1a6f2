"""LPIPS by the package ``lpips``, with its backbone's weights found by the toolkit instead of torchvision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from torch import Tensor, nn

from fsr_plugins.checkpoints import read_weights, unwrapped
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import ABSENT, MeanMetric
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile, locate, torchvision_weights

#: The name in ``lpips`` and the torchvision network whose features it takes.
BACKBONES = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}


@METRIC_REGISTRY.register()
class LPIPS(MeanMetric):
    """Learned perceptual distance (Zhang et al. 2018, Eq. 1) with the linear weights 0.1 that ``lpips`` brings."""

    name = 'lpips'
    better = 'lower'
    needs_gt = True

    def __init__(self, net: str = 'alex', weights: str | None = None, optional: bool = False) -> None:
        """
        Args:
            net: ``'alex'``, ``'vgg'`` or ``'squeeze'``.
            weights: local file with torchvision's state dict of the backbone; looked for and downloaded when None.
            optional: if ``weights`` are not given and cannot be fetched, the metric is absent; that is no error.

        Raises:
            UserError: unknown ``net``; weights that are absent or of another network.
        """
        weight = _weight(net, weights)
        missing = why_missing(weight) if optional and weights is None else ''
        super().__init__(f'{ABSENT}{missing}' if missing else f'{net}, RGB, border 0, uint8')
        if self.absent:
            return
        import lpips

        with warnings.catch_warnings():
            # It asks torchvision in words of before 0.13, of which torchvision warns.
            warnings.filterwarnings('ignore', category=UserWarning, module=r'torchvision\.models\._utils')
            # pnet_rand: without it lpips has torchvision download the backbone by itself.
            self.distance = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).requires_grad_(False).eval()
        path = locate(weight)
        try:
            self.distance.net.load_state_dict(backbone_state(self.distance.net, unwrapped(read_weights(path, None))))
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"'{path}' does not hold the weights of {weight.name}: {reason}.") from error

    @classmethod
    def requirements(
        cls, net: str = 'alex', weights: str | None = None, optional: bool = False, **others: object
    ) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        weight = _weight(net, weights)
        return [] if optional and weights is None and why_missing(weight) else [weight]

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """Distance of each pair, shape (N,)."""
        # The device is known from the first batch on; moving a module that is there already costs nothing.
        return self.distance.to(sr.device)(sr, gt, normalize=True).flatten()


def _weight(net: str, path: str | None) -> WeightFile:
    if net not in BACKBONES:
        raise UserError(f"'net' of the metric LPIPS is '{net}': choose one of {', '.join(BACKBONES)}.")
    return replace(torchvision_weights(BACKBONES[net], f'LPIPS ({net})'), path=path)


@lru_cache
def why_missing(weight: WeightFile) -> str:
    """What to do for weights that are nowhere; empty if they are there. Looked for once a process, as that may take a
    while without a network.
    """
    try:
        locate(weight)
    except UserError as error:
        return str(error)
    return ''


def backbone_state(backbone: nn.Module, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's state dict under the names of ``lpips``, which cuts the same layers into slices.

    Args:
        backbone: network of ``lpips``; its layers keep their numbers: ``slice2.3.weight`` is ``features.3.weight``.
        published: torchvision's state dict.

    Raises:
        KeyError: a layer is missing in ``published``.
    """
    return {name: published[f'features.{name.partition(".")[2]}'] for name in backbone.state_dict()}
