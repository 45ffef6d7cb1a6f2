"""Distances of images by what a frozen network sees in them; by default one whose weights need no download.

Neither is LPIPS or FID: those are defined by their own networks. Figures of two networks are not comparable, so that
the name of each is a part of what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, MeanMetric, Metric, check_pair
from fsr_plugins.metrics.frechet import FeatureMoments, frechet_distance
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile, file_sha256, locate

if TYPE_CHECKING:
    from fsr_plugins.losses.features import FeatureExtractor

#: The network of both metrics where none is named.
DEFAULT: ReadBlock = {'type': 'EfficientNetLite0'}
#: Side to which images are brought before pooled features are taken, in pixels: what the default network is made for.
SIDE = 224


def features_of(name: str) -> Callable[..., FeatureExtractor]:
    """:func:`fsr_plugins.losses.features.features_factory`, imported late: losses bring BasicSR along."""
    from fsr_plugins.losses.features import features_factory

    return features_factory(name)


def _made(features: ReadBlock) -> FeatureExtractor:
    from fsr_plugins.losses.features import make_features

    return make_features(features)


def _file(features: ReadBlock) -> WeightFile:
    from fsr_plugins.losses.features import features_weight

    weight = features_weight(features)
    return replace(weight, path=str(locate(weight)))


def feature_requirements(features: ReadBlock) -> list[WeightFile]:
    """The weights of a network, fetched at once where they have to be.

    Raises:
        UserError: they are absent; the message says how to go on without them.
    """
    try:
        return [_file(features)]
    except UserError as error:
        raise UserError(f'{error} Or leave this metric out of val.metrics.') from error


def _named(features: ReadBlock, extractor: FeatureExtractor) -> str:
    """Network, file and layers for a convention."""
    file = locate(_file(features))
    return f'{features["type"]} ({file.name} {file_sha256(file)[:8]}), {", ".join(extractor.layers)}'


@METRIC_REGISTRY.register()
class FeatureDistance(MeanMetric):
    """Distance of a network's features of result and reference, from 0 to 4; not LPIPS, which has learned weights.

    At each position of each layer both vectors of channels are brought to unit length; their squared distance is
    averaged over positions, then over layers.
    """

    name = 'feature_distance'
    better = 'lower'
    needs_gt = True

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'features': features_of}

    def __init__(self, features: ReadBlock = DEFAULT) -> None:
        """
        Args:
            features: block for :func:`fsr_plugins.losses.features.make_features`.

        Raises:
            UserError: a faulty block, weights that are absent or of another network.
        """
        self.extractor = _made(features)
        super().__init__(f'{_named(features, self.extractor)}, RGB, uint8; not LPIPS')

    @classmethod
    def requirements(cls, features: ReadBlock = DEFAULT, **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        return feature_requirements(features)

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """Distance of each pair, shape (N,)."""
        assert gt is not None
        pairs = self.extractor.to(sr.device)(torch.cat([sr, gt]))
        return torch.stack([unit_distance(*layer.chunk(2)) for layer in pairs]).mean(dim=0)


def unit_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance of channels at unit length, mean over positions, (N,), from 0 to 4.

    Args:
        first, second: (N, C, …).
    """
    difference = F.normalize(first, dim=1) - F.normalize(second, dim=1)
    return difference.square().sum(dim=1).flatten(1).mean(dim=1)


@METRIC_REGISTRY.register()
class FrechetDistance(Metric):
    """Squared Fréchet distance of a network's pooled features of all results and all HR; not FID, which is Inception's.

    Images are brought to 224×224 first (antialiased bilinear). The fewer images, the higher the value: with fewer than
    the features have numbers, 1,280 by default, compare only sets of one size.
    """

    better = 'lower'
    needs_gt = True
    by_image = False

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'features': features_of}

    def __init__(self, features: ReadBlock = DEFAULT) -> None:
        """
        Args:
            features: block for :func:`fsr_plugins.losses.features.make_features` with one layer, which is averaged over
                positions; of EfficientNetLite0 ``pool`` if none is named.

        Raises:
            UserError: a faulty block, more than one layer, weights that are absent or of another network.
        """
        block = dict(features)
        if block.get('type') == DEFAULT['type']:
            block.setdefault('layers', ['pool'])
        self.extractor = _made(block)
        if len(self.extractor.layers) > 1:
            raise UserError(
                f"'layers' of the metric FrechetDistance is {self.extractor.layers}: name one, which is pooled."
            )
        super().__init__(f'{_named(block, self.extractor)}, pooled at {SIDE}×{SIDE}, RGB, uint8; not FID')
        self._results, self._references = FeatureMoments(), FeatureMoments()

    @classmethod
    def requirements(cls, features: ReadBlock = DEFAULT, **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        return feature_requirements(features)

    @torch.no_grad()
    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`."""
        check_pair(sr, gt, 'frechet_distance', meta)
        assert gt is not None  # by check_pair
        self._results.add(self.pooled(sr))
        self._references.add(self.pooled(gt))

    @torch.no_grad()
    def pooled(self, images: Tensor) -> Tensor:
        """Features (N, D) of images (N, 3, H, W) in [0, 1]."""
        images = F.interpolate(images.float(), (SIDE, SIDE), mode='bilinear', antialias=True, align_corners=False)
        (features,) = self.extractor.to(images.device)(images)
        return features.reshape(*features.shape[:2], -1).mean(dim=2)

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Raises:
            UserError: fewer than two images: they have no covariance.
        """
        # A process that saw no image has to know how many numbers the others gather.
        device = next(self.extractor.parameters()).device
        dimension = self.pooled(torch.zeros(1, 3, SIDE, SIDE, device=device)).shape[1]
        results, references = self._results.gather(dimension), self._references.gather(dimension)
        self._results, self._references = FeatureMoments(), FeatureMoments()
        if results[0] < 2:
            raise UserError(
                f"The metric 'frechet_distance' saw {results[0]} images: it needs at least two, better thousands."
            )
        return {'frechet_distance': frechet_distance(*results[1:], *references[1:])}
