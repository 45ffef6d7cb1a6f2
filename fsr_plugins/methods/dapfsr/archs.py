"""The networks of DAP-FSR: an encoder that finds the w of a low-resolution face, and a StyleGAN2 that draws it.

Li et al., "Super-Resolving Cross-Domain Face Miniatures by Peeking at One-Shot Exemplar", Sec. 4.1 and Fig. 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2 import StyleGAN2Decoder
from fsr_plugins.degradations.bicubic import imresize
from fsr_plugins.errors import UserError
from fsr_plugins.losses.vgg import MEAN, STD
from fsr_plugins.methods.dapfsr.backbone import AlignedResNet
from fsr_plugins.methods.dapfsr.blocks import PooledHead, PyramidHead
from fsr_plugins.registry import ARCH_REGISTRY, build, lookup
from fsr_plugins.values import ReadBlock


@ARCH_REGISTRY.register()
class DAPEncoder(nn.Module):
    """The domain-aware pyramid encoder (Fig. 2a): a low-resolution face, aligned or not, to the decoder's w.

    LR is enlarged to ``size`` first: of an image of 16 pixels the backbone's last maps would be one pixel. It is
    enlarged by the kernel that reduced it, MATLAB's, which differs from that of ``F.interpolate``.

    ::

        E = head(maps of the backbone), (N, num_latent, num_style_feat)
        w = latent_mean + E * latent_std                                    (Eq. 2)

    The statistics are the decoder's (:meth:`set_statistics`), part of the state and never trained. Until they are set
    they are 0 and 1.

    Args:
        size: height and width to which LR is enlarged, a multiple of 32 from 64 on.
        num_latent: latents of the decoder, 12 for 128 pixels, 18 for 1024.
        num_style_feat: channels of a latent.
        backbone: ``resnet50``, ``resnet34`` or ``resnet18``.
        num_feat: channels that each of the four maps has in the context.
        multi_scale: ALEs on the pyramid; otherwise a layer on the end of the backbone (Table 2, baseline).
        use_istn: feature maps are aligned (Table 2, configuration B).
        predict_offset: w by Eq. 2 (configuration C); otherwise w = E.

    Shape: (N, 3, h, h) RGB in [0, 1] to (N, num_latent, num_style_feat).

    Raises:
        UserError: a ``size`` or ``backbone`` that is not one of those above.
    """

    latent_mean: Tensor
    latent_std: Tensor
    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        size: int = 128,
        num_latent: int = 12,
        num_style_feat: int = 512,
        backbone: Literal['resnet18', 'resnet34', 'resnet50'] = 'resnet50',
        num_feat: int = 256,
        multi_scale: bool = True,
        use_istn: bool = True,
        predict_offset: bool = True,
    ) -> None:
        super().__init__()
        if size < 64 or size % 32:
            raise UserError(f"'size' of DAPEncoder is {size}: give a multiple of 32 from 64 on.")
        self.size = size
        self.num_latent = num_latent
        self.num_style_feat = num_style_feat
        self.predict_offset = predict_offset
        self.backbone = AlignedResNet(backbone, use_istn)
        channels = self.backbone.channels
        self.head = (
            PyramidHead(channels, num_latent, num_style_feat, num_feat)
            if multi_scale
            else PooledHead(channels, num_latent, num_style_feat)
        )
        self.register_buffer('latent_mean', torch.zeros(num_style_feat))
        self.register_buffer('latent_std', torch.ones(num_style_feat))
        for name, values in zip(('image_mean', 'image_std'), (MEAN, STD), strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Takes over the statistics of the decoder's w, as ``StyleGAN2Decoder.latent_statistics`` gives them.

        Args:
            mean, std: (num_style_feat,) float.

        Raises:
            UserError: they are of another shape.
        """
        for own, given, name in ((self.latent_mean, mean, 'mean'), (self.latent_std, std, 'deviation')):
            if given.shape != own.shape:
                raise UserError(
                    f'The {name} of w has the shape {tuple(given.shape)}, but the encoder makes w of '
                    f'{self.num_style_feat} channels: give encoder and decoder the same num_style_feat.'
                )
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(std)

    def last_layers(self) -> list[nn.Linear]:
        """The layers whose outputs are E: one for each latent, or one for all of them in a row."""
        return [self.head.latents] if isinstance(self.head, PooledHead) else self.head.last_layers()

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a state dict of torchvision's ResNet, see :meth:`AlignedResNet.load_resnet`.

        Raises:
            UserError: it is of another network.
        """
        self.backbone.load_resnet(state)

    def forward(self, lq: Tensor) -> Tensor:
        """w of each face; see the class.

        Raises:
            ValueError: the images are not square: to enlarge them would distort them.
        """
        if lq.shape[2] != lq.shape[3]:
            raise ValueError(f'DAPEncoder takes square images, not {lq.shape[2]}x{lq.shape[3]}.')
        image = imresize(lq, size=(self.size, self.size))
        offset = self.head(self.backbone((image - self.image_mean) / self.image_std))
        return self.latent_mean + offset * self.latent_std if self.predict_offset else offset


@ARCH_REGISTRY.register()
class DAPFSR(nn.Module):
    """Encoder and decoder as one network: what is tested, adapted and handed on (Fig. 2).

    The decoder adds no noise: as no encoder can foresee it, it only takes the image away from HR. Its mapping network,
    which makes w of z, has no part in this and gets no gradients.

    Args:
        encoder: a block, ``{type: DAPEncoder, …}``, or the network; None for a DAPEncoder of its defaults.
        decoder: a block, ``{type: StyleGAN2Decoder, …}``, or the network; None for a StyleGAN2Decoder of its defaults.

    Shape: (N, 3, h, h) RGB in [0, 1] to (N, 3, size, size), ``size`` being the decoder's, not clamped.

    Raises:
        UserError: encoder and decoder are for different numbers of latents or of their channels.
    """

    #: Arguments that are blocks: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], Any]]] = dict.fromkeys(
        ('encoder', 'decoder'), partial(lookup, 'archs')
    )
    #: The registered model that adapts this network to a domain by exemplars.
    adapter: ClassVar[str] = 'DAPAdaptModel'

    def __init__(
        self,
        encoder: ReadBlock | DAPEncoder | None = None,
        decoder: ReadBlock | StyleGAN2Decoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder: DAPEncoder = _made(encoder, 'DAPEncoder')
        self.decoder: StyleGAN2Decoder = _made(decoder, 'StyleGAN2Decoder')
        made, taken = ((net.num_latent, net.num_style_feat) for net in (self.encoder, self.decoder))
        if made != taken:
            raise UserError(
                f'The encoder makes {made[0]} latents of {made[1]} channels, the decoder of {self.decoder.size} pixels '
                f'takes {taken[0]} of {taken[1]}: give the encoder num_latent: {taken[0]}, num_style_feat: {taken[1]}.'
            )
        self.decoder.style_mlp.requires_grad_(False)

    def forward(self, lq: Tensor) -> Tensor:
        """See the class."""
        return self.decoder(self.encoder(lq), input_is_latent=True, noise=self.decoder.no_noise())


def _made(given: ReadBlock | nn.Module | None, default: str) -> Any:
    """The network, built if it is given as a block."""
    return given if isinstance(given, nn.Module) else build('archs', given or {'type': default})
