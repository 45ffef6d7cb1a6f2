"""DAP-FSR's training after the decoder's: the encoder (Sec. 4.1), then DAMMA (Sec. 4.2, Algorithm 1).

Equation numbers are the paper's. F is the extractor that ``train.perceptual_opt`` names. Batches hold ``gt``; LR is
made of it by the option ``degradation``, not aligned, while ``gt`` stays upright.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2 import StyleGAN2Decoder
from fsr_plugins.checkpoints import read_weights
from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.losses.features import FeatureLoss
from fsr_plugins.methods.dapfsr.archs import DAPFSR, DAPEncoder
from fsr_plugins.methods.dapfsr.damma import Mixing, spread, style_transferred
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net, bare, evaluating, freeze
from fsr_plugins.models.strategies import SuperResolution
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.values import Block, Options, Record, State
from fsr_plugins.weights import locate, torchvision_weights


class DAPTrainOptions(TrainOptions):
    """The two terms of Eq. 5."""

    pixel_opt: Loss = Loss.required('L_mse, Eq. 3')
    perceptual_opt: Loss | None = Loss.field('L_percept, Eq. 4: a FeatureLoss, whose network is F')


class DAPModel(FSRModel):
    """What training the encoder and adapting the decoder have in common: Eq. 5."""

    Train = DAPTrainOptions

    def reconstruction(self, losses: dict[str, Tensor], sr: Tensor, hr: Tensor | None) -> None:
        """Adds the terms of Eq. 5."""
        assert hr is not None
        losses['l_mse'] = self.losses.pixel_opt(sr, hr)
        if 'perceptual_opt' in self.losses:
            losses['l_percept'] = self.losses.perceptual_opt(sr, hr)


class WholeNetwork(SuperResolution['DAPEncoderModel']):
    """Encoder and decoder together are what is measured."""

    def networks(self, model: DAPEncoderModel) -> dict[str, nn.Module]:
        """The whole network."""
        return {'result': model.composites()['net_sr']}


class BeforeAndAfter(SuperResolution['DAPAdaptModel']):
    """The network before adaptation (where the option file has it as ``network_source``) and after."""

    def networks(self, model: DAPAdaptModel) -> dict[str, nn.Module]:
        """``source_only`` and ``result``."""
        before = {'source_only': model.net_source} if model.net_source is not None else {}
        return {**before, 'result': model.evaluated('net_sr')}


@MODEL_REGISTRY.register()
class DAPEncoderModel(DAPModel):
    """E by Eq. 5 with G fixed; what it hands on, ``net_sr``, is both together."""

    networks = {'net_e': Net(result=True), 'net_g': Net(frozen=True)}
    net_e: DAPEncoder
    net_g: StyleGAN2Decoder
    evaluation = WholeNetwork()

    class Train(DAPTrainOptions):
        """Those of Eq. 5, and where the encoder begins."""

        backbone_weights: str | None = Field(
            'imagenet', description="of the ResNet: 'imagenet', a file in torchvision's layout, or none"
        )
        latent_samples: int = Field(100_000, ge=2, description='z drawn for the mean and deviation of w')

    train_opt: Train

    def prepare_training(self) -> None:
        """Gives E the statistics of G's w, which training keeps, and a new E its backbone."""
        net_e = bare(self.net_e)
        generator = torch.Generator().manual_seed(self.options.manual_seed)
        net_e.set_statistics(*self.decoder.latent_statistics(self.train_opt.latent_samples, generator))
        begun = self.options.network('net_e').weights
        if self.train_opt.backbone_weights and not begun:
            net_e.load_backbone(self.backbone_state(self.train_opt.backbone_weights))

    def backbone_state(self, weights: str) -> Mapping[str, Tensor]:
        """The ResNet's state dict that ``train.backbone_weights`` names.

        Raises:
            UserError: it is not available; the message says how to do without.
        """
        name = (self.options.network('net_e').block or {}).get('backbone', 'resnet50')
        try:
            found = locate(
                torchvision_weights(name, f"DAPEncoder's {name}"), None if weights == 'imagenet' else weights
            )
        except UserError as error:
            raise UserError(f"{error} Or begin at random: 'train.backbone_weights: null'.") from error
        return read_weights(str(found), None)

    @property
    def decoder(self) -> StyleGAN2Decoder:
        """G, without wrappers."""
        return bare(self.net_g)

    def step(self) -> None:
        """One step of E."""
        with self.phase('net_e') as losses:
            sr = self.net_g(self.net_e(self.lq), input_is_latent=True, noise=self.decoder.no_noise())
            self.reconstruction(losses, sr, self.gt)

    @classmethod
    def composite_blocks(cls, opt: Options) -> dict[str, Block]:
        """``net_sr``, a DAPFSR."""
        return {'net_sr': {'type': 'DAPFSR', 'encoder': opt['network_e'], 'decoder': opt['network_g']}}

    def composites(self) -> dict[str, nn.Module]:
        """Encoder and decoder as one network."""
        return {'net_sr': DAPFSR(encoder=self.evaluated('net_e'), decoder=self.decoder)}  # type: ignore[arg-type]

    @classmethod
    def result_label(cls, opt: Options) -> str:
        """Of a trained stage the whole network."""
        return 'net_sr'


@MODEL_REGISTRY.register()
class DAPAdaptModel(DAPModel):
    """Algorithm 1, DAMMA: G learns a domain from its exemplars. One iteration is one pass of the inner loop.

    Batches hold the exemplars' HR, I^t. E stays as it is, and so does G but for its styles' affine layers, unless
    ``trainable: all``. Each exemplar and each face made after it are restored from an LR of theirs (Eq. 5).
    """

    networks = {'net_sr': Net(result=True), 'net_source': Net(frozen=True, optional=True)}
    net_sr: DAPFSR
    net_source: nn.Module | None
    evaluation = BeforeAndAfter()

    class Train(DAPTrainOptions):
        """The switches of Tables 2 and 3, and what Algorithm 1 leaves open."""

        aug: Literal['mix', 'adain', 'direct'] = Field(
            'mix', description="faces besides the exemplars': mixed (Eq. 6), source faces in their colours, or none"
        )
        mixing: Literal['soft', 'hard', 'none'] = Field(
            'soft', description='alpha learned (Eq. 7), alpha_0, or no faces besides the exemplars (as direct)'
        )
        trainable: Literal['style_affine', 'all'] = Field('style_affine', description='phi: what is trained of G')
        inner_iter: int = Field(50, ge=1, description='n, iterations between two draws of w_s')
        alpha_lr: float = Field(1e-2, ge=0, description='xi')
        swapped_layers: int = Field(3, ge=0, description='last layers of w that alpha_0 takes from the exemplar')
        num_mixed: int = Field(4, ge=1, description='w_s in a batch')

    train_opt: Train

    def __init__(self, opt: Options) -> None:
        self.mixing: Mixing | None = None
        super().__init__(opt)
        if self.is_train:
            freeze(self.network.encoder)

    def is_trainable(self, label: str, name: str) -> bool:
        """Of G the affine layers of its styles, or all that makes an image of w; of E nothing."""
        net = bare(self.net_sr)
        part, _, rest = name.partition('.')
        if part != 'decoder':
            return False
        if self.train_opt.trainable == 'style_affine':
            return rest in set(net.decoder.style_affine_parameters())
        return not rest.startswith('style_mlp')

    def prepare_training(self) -> None:
        """Sees that what the switches call for is there.

        Raises:
            UserError: alpha is to be learned, and there is no F to learn it by; faces are to be made, and nothing
                makes their LR; more layers are to be swapped than there are.
        """
        layers = self.network.encoder.num_latent
        if self.train_opt.swapped_layers > layers:
            raise UserError(f"'train.swapped_layers' is {self.train_opt.swapped_layers}, but w has {layers} layers.")
        if self.makes_faces and self.degradation is None:
            raise UserError(
                "Faces besides the exemplars need an LR too: give the option file a 'degradation', or take 'train.aug: "
                "direct'."
            )
        if self.mixes and self.train_opt.mixing == 'soft' and 'perceptual_opt' not in self.losses:
            raise UserError(
                "'train.mixing: soft' learns alpha by the features of 'train.perceptual_opt' (Eq. 7): give it, or take "
                "'mixing: hard'."
            )

    @property
    def network(self) -> DAPFSR:
        """E and G, without wrappers."""
        return bare(self.net_sr)

    @property
    def mixes(self) -> bool:
        """Whether faces are made by Eq. 6."""
        return self.train_opt.aug == 'mix' and self.train_opt.mixing != 'none'

    @property
    def makes_faces(self) -> bool:
        """Whether there are faces besides the exemplars."""
        return self.mixes or self.train_opt.aug == 'adain'

    def step(self) -> None:
        """Lines 2 to 8 of Algorithm 1."""
        assert self.gt is not None and self.lq is not None
        hr, lq = self.gt, self.lq
        made = self.make_faces()
        if made is not None:
            assert self.degradation is not None
            hr, lq = torch.cat([hr, made]), torch.cat([lq, self.degradation(made)])
        with self.phase('net_sr') as losses:  # line 8
            self.reconstruction(losses, self.net_sr(lq), hr)

    @torch.no_grad()
    def make_faces(self) -> Tensor | None:
        """Faces of the exemplars' domain, (num_mixed, 3, H, W) RGB in [0, 1]; None without any (``aug: direct``)."""
        assert self.gt is not None and self.lq is not None
        if not self.makes_faces:
            return None
        with self.precision.autocast():
            if self.mixing is None or (self.current_iter - 1) % self.train_opt.inner_iter == 0:
                self.mixing = Mixing.begin(  # lines 2 to 4
                    self.network, self.lq, self.gt, self.train_opt.num_mixed, self.train_opt.swapped_layers
                )
            if self.train_opt.aug == 'adain':
                return style_transferred(self.draw(self.mixing.source), self.mixing.exemplar).clamp(0, 1)
            if self.train_opt.mixing == 'soft':  # line 6
                self.mixing.learn(
                    self.network.decoder,
                    self.losses.typed('perceptual_opt', FeatureLoss).extractor,
                    self.train_opt.alpha_lr,
                )
                self.log('alpha', self.mixing.alpha.mean())
            return self.draw(self.mixing.mixed()).clamp(0, 1)  # line 7

    def draw(self, latents: Tensor) -> Tensor:
        """G of w (N, num_latent, num_style_feat): (N, 3, H, W)."""
        decoder = self.network.decoder
        return decoder(latents, input_is_latent=True, noise=decoder.no_noise()).float()

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """Three rows: source faces, the same in the style of the exemplars, and the exemplars."""
        from torchvision.utils import make_grid  # here, for it takes long

        if self.mixing is None:
            return None
        with evaluating(self.network), self.precision.autocast():
            source, mixed = self.draw(self.mixing.source), self.draw(self.mixing.mixed())
        rows = [source, mixed, spread(self.mixing.exemplar, len(source))]
        return make_grid(torch.cat(rows).clamp(0, 1), nrow=len(source), padding=0)

    def training_state(self) -> State:
        """See :meth:`FSRModel.training_state`; with what the inner loop holds."""
        return {**super().training_state(), 'mixing': self.mixing.state() if self.mixing else None}

    def load_training_state(self, state: State) -> None:
        """Puts :meth:`training_state` back."""
        super().load_training_state(state)
        self.mixing = Mixing.of(state['mixing'], self.device) if state['mixing'] else None

    @classmethod
    def adaptation_options(cls, meta: Record) -> Record:
        """A stage of this model for a network with this ``meta``, without data: what ``fsr adapt`` begins with."""
        return {
            'network_sr': copy.deepcopy(meta['arch']),
            'datasets': {'train': {'gt_size': (meta['arch'].get('decoder') or {}).get('size', 128)}},
            'train': {
                'total_iter': 500,
                'optim': {'type': 'Adam', 'lr': 1.0e-4},
                'pixel_opt': {'type': 'MSELoss'},
                'perceptual_opt': {'type': 'FeatureLoss', 'features': {'type': 'VGG'}},
            },
        }
