"""Small networks of other programs with random weights, in the layouts in which such files are published."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

State = dict[str, Tensor]


class Published(NamedTuple):
    """A kind of network as it is published: how it is built, its file, and its scale."""

    make: Callable[[], nn.Module]
    suffix: str
    wrap: Callable[[State], dict[str, Any]]
    scale: int


def esrgan() -> nn.Module:
    """ESRGAN's generator, in spandrel's names, which are those of ESRGAN's original files."""
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=4)


def rrdbnet() -> nn.Module:
    """The same network in BasicSR's names, as Real-ESRGAN's files have them."""
    from basicsr.archs.rrdbnet_arch import RRDBNet

    net = RRDBNet(3, 3, scale=4, num_feat=8, num_block=1)
    # It begins with an image that is nearly black.
    nn.init.normal_(net.conv_last.weight)
    nn.init.constant_(net.conv_last.bias, 0.5)
    return net


def compact() -> nn.Module:
    """Real-ESRGAN's small network."""
    from spandrel.architectures.Compact import Compact

    return Compact(num_feat=8, num_conv=2, upscale=2)


def span() -> nn.Module:
    """SPAN."""
    from spandrel.architectures.SPAN import SPAN

    return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)


def plksr() -> nn.Module:
    """RealPLKSR."""
    from spandrel.architectures.PLKSR import RealPLKSR

    return RealPLKSR(dim=16, n_blocks=2, upscaling_factor=2)


def swinir() -> nn.Module:
    """SwinIR, as for classical enlargement."""
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        img_size=16, embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=4, mlp_ratio=2, upscale=2,
        upsampler='pixelshuffle',
    )  # fmt: skip


def hat() -> nn.Module:
    """HAT."""
    from spandrel.architectures.HAT import HAT

    return HAT(img_size=32, embed_dim=32, depths=(2,), num_heads=(2,), window_size=16, mlp_ratio=2, upscale=2)


def dat() -> nn.Module:
    """DAT."""
    from spandrel.architectures.DAT import DAT

    return DAT(img_size=32, embed_dim=32, split_size=[8, 8], depth=[2], num_heads=[2], expansion_factor=2, upscale=2)


def restoreformer() -> nn.Module:
    """RestoreFormer, for faces of 512×512, with fewer channels than the published one."""
    from spandrel.architectures.RestoreFormer import RestoreFormer

    return RestoreFormer(n_embed=16, embed_dim=32, ch=32, ch_mult=(1, 1, 1, 1, 1, 1), num_res_blocks=1, z_channels=32)


PUBLISHED = {
    'esrgan': Published(esrgan, '.pth', dict, 4),
    'rrdbnet': Published(rrdbnet, '.pth', lambda state: {'params_ema': state}, 4),
    'compact': Published(compact, '.pth', lambda state: {'params': state}, 2),
    'span': Published(span, '.safetensors', dict, 2),
    'plksr': Published(plksr, '.pth', lambda state: {'params-ema': state}, 2),
    'swinir': Published(swinir, '.pth', lambda state: {'params': state}, 2),
    'hat': Published(hat, '.pth', lambda state: {'state_dict': {f'module.{key}': state[key] for key in state}}, 2),
    'dat': Published(dat, '.pth', lambda state: {'model': state}, 2),
    'restoreformer': Published(restoreformer, '.ckpt', lambda state: {'state_dict': state}, 1),
}


def write(name: str, folder: Path) -> Path:
    """The file of a network with random weights."""
    torch.manual_seed(0)
    published = PUBLISHED[name]
    net = published.make()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    file = folder / f'{name}{published.suffix}'
    if published.suffix == '.safetensors':
        save_file(state, file)
    else:
        torch.save(published.wrap(state), file)
    return file


def renumbered(state: State, number: str) -> State:
    """The state with the first number that counts layers in a name replaced, in one name."""
    name = next(name for name in state if re.search(r'\.\d+\.', name))
    return {(re.sub(r'\.\d+\.', f'.{number}.', key, count=1) if key == name else key): state[key] for key in state}
