"""Losses. Importing this registers the toolkit's own and BasicSR's: ``L1Loss``, ``GANLoss``, ``PerceptualLoss`` …"""

from fsr_plugins.losses.colour import LuminanceChrominanceLoss
from fsr_plugins.losses.distillation import DistillationLoss
from fsr_plugins.losses.identity import IdentityLoss
from fsr_plugins.losses.pretrained import requirements
from fsr_plugins.losses.sequence import SequenceLoss

__all__ = ['DistillationLoss', 'IdentityLoss', 'LuminanceChrominanceLoss', 'SequenceLoss', 'requirements']
