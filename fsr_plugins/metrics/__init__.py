"""Metrics on batches, gathered over processes. Importing this registers them all."""

from fsr_plugins.metrics.all_pairs import AllPairs
from fsr_plugins.metrics.base import MeanMetric, Metric
from fsr_plugins.metrics.blufr import BLUFR
from fsr_plugins.metrics.features import FeatureDistance, FrechetDistance
from fsr_plugins.metrics.fid import FID
from fsr_plugins.metrics.fiq import FIQ
from fsr_plugins.metrics.identity_similarity import IdentitySimilarity
from fsr_plugins.metrics.lpips_distance import LPIPS
from fsr_plugins.metrics.niqe import NIQE
from fsr_plugins.metrics.psnr_ssim import PSNR, SSIM
from fsr_plugins.metrics.verification import Verification

__all__ = [
    'BLUFR',
    'FID',
    'FIQ',
    'FeatureDistance',
    'FrechetDistance',
    'LPIPS',
    'NIQE',
    'PSNR',
    'SSIM',
    'AllPairs',
    'IdentitySimilarity',
    'MeanMetric',
    'Metric',
    'Verification',
]
