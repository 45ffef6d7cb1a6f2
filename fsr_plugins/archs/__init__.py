"""Networks and blocks that two methods share. Importing this room registers its networks."""

from fsr_plugins.archs import lightcnn, linear, recognition, srgan, stylegan2

__all__ = ['lightcnn', 'linear', 'recognition', 'srgan', 'stylegan2']
