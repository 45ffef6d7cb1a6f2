"""Metrics on batches, gathered over processes. Importing this registers them all."""

from fsr_plugins.metrics.base import MeanMetric, Metric
from fsr_plugins.metrics.psnr_ssim import PSNR, SSIM

__all__ = ['PSNR', 'SSIM', 'MeanMetric', 'Metric']
