"""Datasets and loaders; importing this registers the datasets."""

from __future__ import annotations

from fsr_plugins.data.compare_dataset import CompareFaceDataset
from fsr_plugins.data.datasets import FaceDataset, SourceTargetDataset, UnpairedFaceDataset
from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.data.paired_images import PairedImages, SingleImages
from fsr_plugins.data.real_dataset import RealFaceDataset

__all__ = [
    'CompareFaceDataset',
    'EvalLoader',
    'FaceDataset',
    'HRDataset',
    'ImageDataset',
    'PairedImages',
    'RealFaceDataset',
    'SingleImages',
    'SourceTargetDataset',
    'TrainLoader',
    'UnpairedFaceDataset',
]
