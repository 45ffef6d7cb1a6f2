"""Quality of a face image by itself."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from fsr_plugins.arguments import home_path
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import ABSENT, MeanMetric
from fsr_plugins.metrics.fiq_models import MODELS, QualityModel, Scorer
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile, file_sha256, folder


@METRIC_REGISTRY.register()
class FIQ(MeanMetric):
    """Face image quality, about from 0 to 1, by a published network (:data:`fsr_plugins.metrics.fiq_models.MODELS`).

    Images count as faces cut out, as the aligned faces of a validation set are: no face is looked for. The convention
    names the network, its version and the first digits of its file's SHA-256.
    """

    name = 'fiq'
    better = 'higher'
    needs_gt = False
    by_image = False

    def __init__(self, weights: str | None = None, model: str = 'faceqnet_v1') -> None:
        """
        Args:
            weights: the published file; None: that of ``model`` in the folder of weights. Where it is not, or the
                package that runs it is not installed, the metric is absent, which is no error.
            model: ``'faceqnet_v0'``, ``'faceqnet_v1'`` (both by Keras) or ``'topiq_nr-face'`` (by pyiqa).

        Raises:
            UserError: another ``model``; ``weights`` that are not there, hold another network, or lack the package.
        """
        chosen = _model(model)
        missing = _missing(chosen, weights)
        if missing and weights is not None:
            raise UserError(missing)
        if missing:
            super().__init__(f'{ABSENT}{missing}')
            return
        path = _place(chosen, weights)
        self.score = _scorer(model, str(path), path.stat().st_mtime_ns)
        super().__init__(f'{chosen.name} ({path.name} {file_sha256(path)[:8]}), whole image, {chosen.how}')

    @classmethod
    def requirements(cls, weights: str | None = None, model: str = 'faceqnet_v1', **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`; the package is looked for, too."""
        chosen = _model(model)
        if weights is None:
            return []
        if missing := _missing(chosen, weights):
            raise UserError(missing)
        return [WeightFile(chosen.name, chosen.url, '', chosen.filename, path=weights)]

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """Score of each image, shape (N,)."""
        return self.score(sr)


def _model(model: str) -> QualityModel:
    if model not in MODELS:
        raise UserError(f"'model' of the metric FIQ is '{model}': choose one of {', '.join(MODELS)}.")
    return MODELS[model]


def _place(model: QualityModel, path: str | None) -> Path:
    return folder() / model.filename if path is None else home_path(path)


def _missing(model: QualityModel, path: str | None) -> str:
    """What is not there and what to do; empty if nothing is missing."""
    file = _place(model, path)
    if not file.is_file():
        return f"{model.name} is not at '{file}': fetch {model.url} and put it there."
    if find_spec(model.package) is None:
        return f"{model.name} needs the package '{model.package}' to run: {model.install}."
    return ''


@lru_cache(maxsize=2)
def _scorer(model: str, path: str, changed: int) -> Scorer:
    """One network for all metrics of the process; read again once the file has changed."""
    return MODELS[model].read(path)
