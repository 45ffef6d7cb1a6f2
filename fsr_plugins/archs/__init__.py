"""Networks and blocks that two methods share. Importing this room registers its networks."""

from fsr_plugins.archs import lightcnn, recognition, srgan, stylegan2

__all__ = ['lightcnn', 'recognition', 'srgan', 'stylegan2']
