"""BLUFR: verification and open-set identification at low false accept rates on all of LFW."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import recogniser_factory
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric
from fsr_plugins.metrics.blufr_protocol import Indices, Protocol, Trial, read_protocol
from fsr_plugins.metrics.false_accepts import check_far, verification_rate
from fsr_plugins.metrics.gathering import KeyedRows, keys_of
from fsr_plugins.metrics.open_set import open_set_rate
from fsr_plugins.metrics.recogniser import (
    Align,
    EvaluationRecogniser,
    RecogniserLike,
    embedding,
    recogniser_requirements,
)
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile

logger = logging.getLogger(__name__)

#: How many missing images a message names.
NAMED = 5


@METRIC_REGISTRY.register()
class BLUFR(Metric):
    """Benchmark of large-scale unconstrained face recognition (Liao et al., IJCB 2014) by a recogniser's embeddings.

    Each trial of the protocol gives two rates. The verification rate (VR) is at a false accept rate over all pairs of
    its test set. The rank-1 detection and identification rate (DIR) of its probes is at a false accept rate of probes
    outside the gallery. The benchmark ranks by mean minus standard deviation over the trials, MATLAB's ``std`` of n - 1
    (0 for a single trial); so does this metric's first value. Values are shares in [0, 1], where publications print per
    cent.

    Images the protocol names and the set lacks leave the trials: their pairs are not counted, and probes of a person
    whose gallery images are all missing count as impostors. A face that cannot be aligned stays and matches nobody.

    Attributes:
        missing: the names of those images, of the latest :meth:`compute`.
    """

    better = 'higher'
    needs_gt = False
    rates_gt = True

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'recogniser': recogniser_factory}

    def __init__(
        self,
        recogniser: RecogniserLike,
        protocol: str | Path,
        align: Align = 'none',
        far: float = 0.001,
        open_set_far: float = 0.01,
        max_missing: float = 0.01,
        trained_with: bool = False,
    ) -> None:
        """
        Args:
            recogniser: see :class:`fsr_plugins.metrics.recogniser.EvaluationRecogniser`.
            protocol: ``blufr_lfw_config.mat``, or another file for
                :func:`~fsr_plugins.metrics.blufr_protocol.read_protocol`.
            align: how faces are brought into the recogniser's input, see ``EvaluationRecogniser``.
            far: false accept rate of VR.
            open_set_far: false accept rate of DIR.
            max_missing: share in [0, 1] of the protocol's images that the validated set may lack.
            trained_with: says that the use of the recogniser in training is known; read by preflight.

        Raises:
            UserError: a share out of range, a faulty protocol, or what ``EvaluationRecogniser`` raises.
        """
        check_far(far)
        check_far(open_set_far, 'open_set_far')
        if not 0 <= max_missing <= 1:
            raise UserError(f"'max_missing' is {max_missing}: it is a share of the protocol's images, from 0 to 1.")
        self.protocol_path = str(protocol)
        self.protocol: Protocol = read_protocol(protocol)
        self.recogniser = EvaluationRecogniser(recogniser, align)
        self.far, self.open_set_far = far, open_set_far
        self.max_missing = max_missing
        self.trained_with = trained_with
        self.missing: list[str] = []
        self._rows = KeyedRows()
        self._device = torch.device('cpu')
        trials = len(self.protocol.trials)
        super().__init__(
            f'{self.recogniser.name}, align {align}, VR at FAR {100 * far:g} %, '
            f'rank-1 DIR at FAR {100 * open_set_far:g} %, '
            f'mean - std of {trials} trial{"s" if trials > 1 else ""}'
        )

    @classmethod
    def requirements(
        cls, recogniser: RecogniserLike = None, protocol: str | Path | None = None, **others: object
    ) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`; the protocol is looked at, too."""
        if protocol is not None:
            read_protocol(protocol)
        return recogniser_requirements(recogniser)

    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`.

        Raises:
            ValueError: no ``keys`` in ``meta``.
        """
        self._device = sr.device
        self._rows.add(keys_of(meta), embedding(self.recogniser, sr, meta.get('net'), meta))

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Returns:
            ``vr_minus_std``, ``vr``, ``dir_minus_std``, ``dir``, and ``missing``, the number of the protocol's images
            that the set lacks.

        Raises:
            UserError: too many missing images, or a trial without two sorts of pairs and two of probes.
        """
        keys, columns = self._rows.gather()
        if not keys:
            raise UserError("The metric 'blufr' saw no image: the validation set is empty.")
        rows = self.protocol.rows(keys)
        self.missing = [name for name, row in zip(self.protocol.images, rows, strict=True) if row < 0]
        if self.missing:
            what = (
                f"{len(self.missing)} of the {len(rows)} images that '{self.protocol_path}' names are not in the "
                f'validated set ({", ".join(self.missing[:NAMED])}{", …" if len(self.missing) > NAMED else ""})'
            )
            if len(self.missing) > self.max_missing * len(rows):
                raise UserError(f"{what}: validate on all images of the benchmark, or raise 'max_missing'.")
            logger.warning('%s: they are left out.', what)
        embeddings = columns[0].to(self._device)
        failures = int(embeddings.isnan().any(dim=1).sum())
        if failures:
            logger.warning('%d of %d faces have no embedding and match nobody.', failures, len(keys))
        rates = np.array([self._rates(trial, rows, embeddings) for trial in self.protocol.trials])
        means = rates.mean(axis=0)
        deviations = rates.std(axis=0, ddof=1) if len(rates) > 1 else np.zeros(2)
        result: dict[str, float] = {}
        for name, mean, deviation in zip(('vr', 'dir'), means, deviations, strict=True):
            result |= {f'{name}_minus_std': float(mean - deviation), name: float(mean)}
        return result | {'missing': len(self.missing)}

    def _rates(self, trial: Trial, rows: Indices, embeddings: Tensor) -> tuple[float, float]:
        """VR and DIR of one trial. ``rows``: the row among ``embeddings`` (n, D) of each of the protocol's images."""

        def subset(images: Indices) -> tuple[Tensor, Tensor]:
            there = images[rows[images] >= 0]
            labels = torch.from_numpy(self.protocol.labels[there]).to(embeddings.device)
            return embeddings[torch.from_numpy(rows[there]).to(embeddings.device)], labels

        vr = verification_rate(*subset(trial.test), self.far)
        identified = open_set_rate(*subset(trial.gallery), *subset(trial.probes), self.open_set_far)
        return vr.rate, identified.rate
