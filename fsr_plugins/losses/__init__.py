"""Losses. Importing this registers the toolkit's own and BasicSR's (``L1Loss``, ``MSELoss``, ``CharbonnierLoss``, ``GANLoss``,
``PerceptualLoss`` …)."""

from fsr_plugins.losses.requirements import requirements
from fsr_plugins.losses.sequence import SequenceLoss

__all__ = ['SequenceLoss', 'requirements']
