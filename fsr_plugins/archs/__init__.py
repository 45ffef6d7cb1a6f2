"""Networks and blocks that two methods share. Importing this room registers its networks."""

from fsr_plugins.archs import espcn, lightcnn, linear, recognition, srgan, stylegan2

__all__ = ['espcn', 'lightcnn', 'linear', 'recognition', 'srgan', 'stylegan2']
