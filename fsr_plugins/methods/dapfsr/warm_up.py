"""A beginning for decoder and encoder where there is no time for StyleGAN2's millions of faces; not the paper's."""

from __future__ import annotations

import copy
from pathlib import Path

from pydantic import Field

from fsr_plugins.errors import UserError
from fsr_plugins.methods.dapfsr.archs import DAPEncoder
from fsr_plugins.methods.dapfsr.models import DAPEncoderModel
from fsr_plugins.methods.dapfsr.whitening import Moments, whiten
from fsr_plugins.models.networks import Net, bare
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.values import State


@MODEL_REGISTRY.register()
class DAPWarmUpModel(DAPEncoderModel):
    """E and G together by Eq. 5, as an autoencoder with one code for all layers of w; at the end, codes are whitened.

    So ``mu_w + sigma_w * noise`` comes near to faces, the adversarial stage ``decoder`` begins with them instead of
    with noise, and ``encoder`` with this E. G's mapping network, and with it the statistics of w, stays as it is.
    """

    networks = {'net_e': Net(result=True), 'net_g': Net()}

    class Train(DAPEncoderModel.Train):
        """Those of the encoder's training, and one weight."""

        agree_weight: float = Field(0.01, ge=0, description="of the squared distance of the layers' E from their mean")

    train_opt: Train

    def prepare_training(self) -> None:
        """As the encoder's training; and sees that codes can be whitened.

        Raises:
            UserError: an encoder that predicts no offsets, or a moving average, which would not be whitened.
        """
        super().prepare_training()
        if not self.encoder.predict_offset:
            raise UserError("DAPWarmUpModel whitens offsets: it needs 'predict_offset: true' in 'network_e'.")
        if self.train_opt.ema_decay:
            raise UserError("DAPWarmUpModel whitens the networks themselves: leave out 'train.ema_decay'.")
        self.moments = Moments(self.encoder.num_style_feat, self.device)

    @property
    def encoder(self) -> DAPEncoder:
        """E, without wrappers."""
        return bare(self.net_e)

    def is_trainable(self, label: str, name: str) -> bool:
        """Everything but the mapping network, which has no part in it."""
        return not name.startswith('style_mlp')

    def step(self) -> None:
        """One step of both."""
        mean, std = self.encoder.latent_mean, self.encoder.latent_std
        with self.phase('net_e', 'net_g') as losses:
            offset = (self.net_e(self.lq) - mean) / std
            code = offset.mean(dim=1)
            sr = self.net_g(mean + code * std, input_is_latent=True, noise=self.decoder.no_noise())
            self.reconstruction(losses, sr, self.gt)
            losses['l_agree'] = self.train_opt.agree_weight * (offset - code[:, None]).square().mean()
        self.moments.update(code)

    def save_networks(self, suffix: str) -> dict[str, Path]:
        """See :meth:`FSRModel.save_networks`; what is handed on is whitened, the networks in training stay."""
        if suffix != 'latest':
            return super().save_networks(suffix)
        before = {net: copy.deepcopy(net.state_dict()) for net in (self.encoder, self.decoder)}
        whiten(self.encoder, self.decoder, self.moments)
        files = super().save_networks(suffix)
        for net, state in before.items():
            net.load_state_dict(state)
        return files

    def training_state(self) -> State:
        """See :meth:`FSRModel.training_state`; with the moments of the codes."""
        return {**super().training_state(), 'moments': self.moments.state()}

    def load_training_state(self, state: State) -> None:
        """Puts :meth:`training_state` back."""
        super().load_training_state(state)
        self.moments.load(state['moments'])
