"""Stages that train nothing: a network goes once over a dataset, and what it makes of it becomes a dataset."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.models.evaluation import quantise
from fsr_plugins.models.networks import Net
from fsr_plugins.models.stage_model import StageModel
from fsr_plugins.models.strategies import Evaluated, Evaluation, NoEvaluation
from fsr_plugins.registry import MODEL_REGISTRY


class SetGeneration(StageModel):
    """A stage whose result is images, one of each image of ``datasets.train``, in the LMDB ``<stage>/images.lmdb``.

    Another stage names it ``stage:<stage>/images.lmdb``. Keys, identities and landmarks are those of the set it was
    made from. A subclass names its networks and says what it makes of a batch. :mod:`fsr_plugins.engine.set_generation`
    runs it; there is no ``train`` and no ``val`` in its options.

    Attributes:
        output: the file's name in the stage's folder.
    """

    generates_set: ClassVar[bool] = True
    output: ClassVar[str] = 'images.lmdb'
    evaluation: ClassVar[Evaluation[Evaluated]] = NoEvaluation(
        'A stage that makes images trains nothing to be measured.'
    )

    @abstractmethod
    def generate(self) -> Tensor:
        """The images made of the batch fed last: (N, 3, H, W) RGB in [0, 1], in steps of 1/255."""

    def generate_bytes(self) -> Tensor:
        """:meth:`generate` as uint8 NHWC on the CPU."""
        return self.generate().mul(255).round_().byte().permute(0, 2, 3, 1).contiguous().cpu()


@MODEL_REGISTRY.register()
class SuperResolveModel(SetGeneration):
    """Super-resolves a set: each HR image is degraded and restored by ``net_g`` (step 2 of C-Face's Algorithm 1)."""

    networks = {'net_g': Net(frozen=True)}
    net_g: nn.Module

    @torch.no_grad()
    def generate(self) -> Tensor:
        """See :meth:`SetGeneration.generate`.

        Raises:
            UserError: the set has no LR, and nothing makes it.
        """
        if self.lq is None:
            raise UserError("The set has no LR images and the option file has no 'degradation'.")
        with self.precision.autocast():
            return quantise(self.net_g(self.lq))
