"""Plain supervised training: the baselines, and the start of many methods."""

from __future__ import annotations

from torch import Tensor, nn

from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.wording import kind_of


@MODEL_REGISTRY.register()
class SupervisedModel(FSRModel):
    """One network ``net_g`` from LR to SR, trained with a pixel loss, a perceptual loss, or both."""

    networks = {'net_g': Net(result=True)}
    net_g: nn.Module

    class Train(TrainOptions):
        """Either may be left out; a perceptual loss gives (perceptual, style) as BasicSR's does."""

        pixel_opt: Loss | None = Loss.field('distance of SR and HR by pixels')
        perceptual_opt: Loss | None = Loss.field('distance by features, a pair (perceptual, style)')

    train_opt: Train

    def step(self) -> None:
        """SR = net_g(LR), compared with HR."""
        with self.phase('net_g') as losses:
            losses.update(self.losses_to_hr(self.net_g(self.lq)))

    def losses_to_hr(self, sr: Tensor) -> dict[str, Tensor]:
        """The losses of these images to HR by name: ``l_pix``, ``l_percep`` and ``l_style``, as far as given."""
        losses: dict[str, Tensor] = {}
        if 'pixel_opt' in self.losses:
            losses['l_pix'] = self.losses.pixel_opt(sr, self.gt)
        if 'perceptual_opt' in self.losses:
            pair = self.losses.perceptual_opt(sr, self.gt)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UserError(
                    "The loss of 'train.perceptual_opt' must give a pair (perceptual, style), each None or one number "
                    f'as a tensor, and gave {kind_of(pair)}.'
                )
            named = zip(('l_percep', 'l_style'), pair, strict=True)
            losses.update((name, value) for name, value in named if value is not None)
        return losses
