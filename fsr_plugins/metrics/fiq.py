"""Quality of a face image by itself: FaceQnet, run as its authors published it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import ABSENT, MeanMetric
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile, file_sha256, folder

_RELEASES = 'https://github.com/uam-biometrics/FaceQnet/releases/download'
_INSTALL = "pip install 'fsr_plugins[fiq]'"


@dataclass(frozen=True)
class _Version:
    """A published FaceQnet: its name, where it is, and what its file is called here."""

    name: str
    url: str
    filename: str


#: Both are called FaceQnet; their scores cannot be compared.
VERSIONS = {
    'faceqnet_v0': _Version('FaceQnet v0', f'{_RELEASES}/v0/FaceQnet.h5', 'FaceQnet_v0.h5'),
    'faceqnet_v1': _Version('FaceQnet v1', f'{_RELEASES}/v1.0/FaceQnet_v1.h5', 'FaceQnet_v1.h5'),
}


@METRIC_REGISTRY.register()
class FIQ(MeanMetric):
    """Face image quality by FaceQnet, from 0 to 1 (Hernandez-Ortega et al., ICB 2019; v1: 2020).

    The file holds the network as well as its weights: Keras runs it, on PyTorch. Images count as faces cut out, as the
    aligned faces of a validation set are: no face is looked for. They are resized bilinearly to the network's input,
    224×224, in BGR from 0 to 255; the score is clipped to [0, 1]. This is what the authors' script does to such images
    (their resizing rounds by itself: a level of 255 at most).

    Nobody publishes a checksum of the files: the convention names the first digits of the SHA-256 of the one used.
    """

    name = 'fiq'
    better = 'higher'
    needs_gt = False

    def __init__(self, weights: str | None = None, model: str = 'faceqnet_v1') -> None:
        """
        Args:
            weights: the published ``.h5`` file; None: that of ``model`` in the folder of weights. Where it is not, or
                Keras is not installed, the metric is absent, which is no error.
            model: ``'faceqnet_v0'`` or ``'faceqnet_v1'``: what the file is.

        Raises:
            UserError: another ``model``; ``weights`` that are not there, hold no such network, or lack Keras.
        """
        version = _version(model)
        missing = _missing(version, weights)
        if missing and weights is not None:
            raise UserError(missing)
        path = _place(version, weights)
        if missing:
            super().__init__(f'{ABSENT}{missing}')
            return
        self.net = _network(str(path), path.stat().st_mtime_ns)
        self.size = tuple(self.net.input_shape[1:3])
        used = f'{version.name} ({path.name} {file_sha256(path)[:8]})'
        super().__init__(f'{used}, whole image, BGR uint8, {self.size[0]}x{self.size[1]}, clipped to 0…1')

    @classmethod
    def requirements(cls, weights: str | None = None, model: str = 'faceqnet_v1', **others: Any) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`; Keras is looked for, too."""
        version = _version(model)
        if weights is None:
            return []
        if missing := _missing(version, weights):
            raise UserError(missing)
        return [WeightFile(version.name, version.url, '', version.filename, path=weights)]

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """Score of each image, shape (N,)."""
        levels = F.interpolate(sr.flip(1) * 255, self.size, mode='bilinear', align_corners=False).round()
        # Keras takes images NHWC, and to its own device.
        scores = self.net(levels.permute(0, 2, 3, 1), training=False)
        return scores.to(sr.device).reshape(len(sr)).clamp(0, 1)


def _version(model: str) -> _Version:
    if model not in VERSIONS:
        raise UserError(f"'model' of the metric FIQ is '{model}': choose one of {', '.join(VERSIONS)}.")
    return VERSIONS[model]


def _place(version: _Version, path: str | None) -> Path:
    return folder() / version.filename if path is None else Path(path).expanduser()


def _missing(version: _Version, path: str | None) -> str:
    """What is not there and what to do; empty if nothing is missing."""
    file = _place(version, path)
    if not file.is_file():
        return f"{version.name} is not at '{file}': fetch {version.url} and put it there."
    if find_spec('keras') is None:
        return f"'{file}' needs Keras to run: {_INSTALL}."
    return ''


@lru_cache(maxsize=2)
def _network(path: str, changed: int) -> Any:
    """The network of a Keras file, shared by all metrics of the process; read again once the file has changed."""
    if 'keras' not in sys.modules:
        os.environ['KERAS_BACKEND'] = 'torch'
    import keras

    if keras.config.backend() != 'torch':
        raise UserError(f'Keras runs on {keras.config.backend()} here: set KERAS_BACKEND=torch for the metric FIQ.')
    try:
        net = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split())[:160]
        raise UserError(f"'{path}' holds no network that Keras {keras.__version__} can read: {reason} …") from error
    shapes = getattr(net, 'input_shape', None), getattr(net, 'output_shape', None)
    if shapes[1] != (None, 1) or not isinstance(shapes[0], tuple) or len(shapes[0]) != 4 or shapes[0][3] != 3:
        raise UserError(
            f"'{path}' is no FaceQnet: it goes from {shapes[0]} to {shapes[1]}, not from images to one score."
        )
    net.trainable = False
    return net
