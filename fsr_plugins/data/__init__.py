"""Stores, datasets and loaders; importing this registers the datasets."""

from __future__ import annotations

from fsr_plugins.data.compare_set import CompareFaceDataset
from fsr_plugins.data.datasets import FaceDataset, SourceTargetDataset, UnpairedFaceDataset
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.data.real_set import RealFaceDataset
from fsr_plugins.data.stores import Store, open_store
from fsr_plugins.data.union_store import UnionStore
from fsr_plugins.data.verify import verify

__all__ = [
    'CompareFaceDataset',
    'EvalLoader',
    'FaceDataset',
    'RealFaceDataset',
    'SourceTargetDataset',
    'Store',
    'TrainLoader',
    'UnionStore',
    'UnpairedFaceDataset',
    'open_store',
    'verify',
]
