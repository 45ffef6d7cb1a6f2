"""Plain supervised training: the baselines, and the start of many methods."""

from __future__ import annotations

from fsr_plugins.config.options import Block, TrainOptions
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SupervisedModel(FSRModel):
    """One network ``net_g`` from LR to SR, trained with a pixel loss, a perceptual loss, or both."""

    networks = {'net_g': Net(result=True)}

    class Train(TrainOptions):
        """Either may be left out; a perceptual loss gives (perceptual, style) as BasicSR's does."""

        pixel_opt: Block | None = None
        perceptual_opt: Block | None = None

    def init_losses(self) -> None:
        """Builds ``pixel_opt`` and ``perceptual_opt``."""
        self.cri_pix = self.build_loss('pixel_opt')
        self.cri_perceptual = self.build_loss('perceptual_opt')

    def step(self) -> None:
        """SR = net_g(LR), compared with HR."""
        with self.phase('net_g') as losses:
            sr = self.net_g(self.lq)
            if self.cri_pix is not None:
                losses['l_pix'] = self.cri_pix(sr, self.gt)
            if self.cri_perceptual is not None:
                for name, value in zip(('l_percep', 'l_style'), self.cri_perceptual(sr, self.gt), strict=True):
                    if value is not None:
                        losses[name] = value
