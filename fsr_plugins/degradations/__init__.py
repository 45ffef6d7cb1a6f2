"""How low-resolution images are made: blocks that degrade a batch on its device, each image by its own seed."""

from fsr_plugins.degradations.affine import AffineMisalign
from fsr_plugins.degradations.base import Degradation
from fsr_plugins.degradations.bicubic import BicubicDown, bicubic_up, imresize, resize_matrix
from fsr_plugins.degradations.cascaded import CascadedBilinearDown
from fsr_plugins.degradations.compose import Compose
from fsr_plugins.degradations.jpeg import JpegCompression, jpeg
from fsr_plugins.degradations.photographed import PhotographedFace
from fsr_plugins.degradations.real_world import NeutralCamera, RealWorldCamera

__all__ = [
    'AffineMisalign',
    'BicubicDown',
    'CascadedBilinearDown',
    'Compose',
    'Degradation',
    'JpegCompression',
    'NeutralCamera',
    'PhotographedFace',
    'RealWorldCamera',
    'bicubic_up',
    'imresize',
    'jpeg',
    'resize_matrix',
]
