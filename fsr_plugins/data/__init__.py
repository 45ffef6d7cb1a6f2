"""Datasets and loaders; importing this registers the datasets."""

from __future__ import annotations

from fsr_plugins.data.compare_set import CompareFaceDataset
from fsr_plugins.data.datasets import FaceDataset, SourceTargetDataset, UnpairedFaceDataset
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.data.real_set import RealFaceDataset

__all__ = [
    'CompareFaceDataset',
    'EvalLoader',
    'FaceDataset',
    'RealFaceDataset',
    'SourceTargetDataset',
    'TrainLoader',
    'UnpairedFaceDataset',
]
