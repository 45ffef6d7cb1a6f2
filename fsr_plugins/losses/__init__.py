"""Losses. Importing this registers the toolkit's own and BasicSR's: ``L1Loss``, ``GANLoss``, ``PerceptualLoss`` …"""

from fsr_plugins.losses.pretrained import requirements
from fsr_plugins.losses.sequence import SequenceLoss

__all__ = ['SequenceLoss', 'requirements']
