"""StyleGAN2 in plain PyTorch, without a compiled extension. Importing this registers its networks."""

from fsr_plugins.archs.stylegan2.checkpoints import convert
from fsr_plugins.archs.stylegan2.discriminator import StyleGAN2Critic
from fsr_plugins.archs.stylegan2.fir import FIR, make_kernel, upfirdn2d
from fsr_plugins.archs.stylegan2.generator import LatentStatistics, StyleGAN2Decoder
from fsr_plugins.archs.stylegan2.modulation import ModulatedConv2d

__all__ = [
    'FIR',
    'LatentStatistics',
    'ModulatedConv2d',
    'StyleGAN2Critic',
    'StyleGAN2Decoder',
    'convert',
    'make_kernel',
    'upfirdn2d',
]
