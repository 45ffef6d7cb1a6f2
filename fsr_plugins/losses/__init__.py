"""Losses. Importing this registers the toolkit's own and BasicSR's: ``L1Loss``, ``GANLoss``, ``PerceptualLoss`` …"""

from fsr_plugins.losses.asoftmax import ASoftmaxLoss
from fsr_plugins.losses.colour import LuminanceChrominanceLoss
from fsr_plugins.losses.compare_face import CompareFaceLoss
from fsr_plugins.losses.content import ContentLoss
from fsr_plugins.losses.distillation import DistillationLoss
from fsr_plugins.losses.feature_matching import GANFeatLoss
from fsr_plugins.losses.features import FeatureLoss
from fsr_plugins.losses.identity import IdentityLoss
from fsr_plugins.losses.pretrained import requirements
from fsr_plugins.losses.sequence import SequenceLoss
from fsr_plugins.losses.style import FeatureStyleLoss
from fsr_plugins.losses.stylegan import LogisticGANLoss, PathLengthPenalty, R1Penalty

__all__ = [
    'ASoftmaxLoss',
    'CompareFaceLoss',
    'ContentLoss',
    'DistillationLoss',
    'FeatureLoss',
    'FeatureStyleLoss',
    'GANFeatLoss',
    'IdentityLoss',
    'LogisticGANLoss',
    'LuminanceChrominanceLoss',
    'PathLengthPenalty',
    'R1Penalty',
    'SequenceLoss',
    'requirements',
]
