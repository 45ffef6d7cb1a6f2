"""Stages that train nothing: a network goes once over a set, and what it makes of it becomes a set of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.models.validation import quantise
from fsr_plugins.registry import MODEL_REGISTRY


class ProductionModel(FSRModel):
    """A stage whose result is images, one of each image of ``datasets.train``, in the LMDB ``<stage>/images.lmdb``.

    Another stage names it ``stage:<stage>/images.lmdb``. Keys, identities and landmarks are those of the set it was
    made from. A subclass names its networks and says what it makes of a batch. The engine's :mod:`producer` runs it;
    there is no ``train`` and no ``val`` in its options.

    Attributes:
        product: the file's name in the stage's folder.
    """

    generates_set: ClassVar[bool] = True
    product: ClassVar[str] = 'images.lmdb'
    shows_images: ClassVar[bool] = False

    @abstractmethod
    def produce(self) -> Tensor:
        """The images made of the batch fed last: (N, 3, H, W) RGB in [0, 1], in steps of 1/255."""

    def produce_bytes(self) -> Tensor:
        """:meth:`produce` as uint8 NHWC on the CPU."""
        return self.produce().mul(255).round_().byte().permute(0, 2, 3, 1).contiguous().cpu()

    def init_losses(self) -> None:
        """There are none: this is not trained."""
        raise UserError(f'{type(self).__name__} trains nothing: it runs as a stage of an experiment.')

    def training_state(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Nothing: what is done lies in the stage's folder."""
        return {}


@MODEL_REGISTRY.register()
class SuperResolveModel(ProductionModel):
    """Super-resolves a set: each HR image is degraded and restored by ``net_g`` (step 2 of C-Face's Algorithm 1)."""

    networks = {'net_g': Net(frozen=True)}
    net_g: nn.Module

    @torch.no_grad()
    def produce(self) -> Tensor:
        """See :meth:`ProductionModel.produce`.

        Raises:
            UserError: the set has no LR, and nothing makes it.
        """
        if self.lq is None:
            raise UserError("The set has no LR images and the option file has no 'degradation'.")
        with self.precision.autocast():
            return quantise(self.net_g(self.lq))
