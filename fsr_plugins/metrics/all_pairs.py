"""Verification over all pairs of a set: area under the ROC curve, and true accepts at low false accept rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fsr_plugins.archs.recognition import recogniser_factory
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric
from fsr_plugins.metrics.false_accepts import (
    BLOCK,
    HighestScores,
    accepted,
    check_far,
    check_shapes,
    cosines,
    decision_threshold,
    false_accepts,
)
from fsr_plugins.metrics.gathering import KeyedRows, keys_of
from fsr_plugins.metrics.recogniser import (
    Align,
    EvaluationRecogniser,
    RecogniserLike,
    embedding,
    recogniser_requirements,
)
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile


class PairRates(NamedTuple):
    """Rates in [0, 1], and of how many pairs.

    Attributes:
        auc: share of (genuine, impostor) pairs of pairs in which the genuine one is more alike; ties count half.
        tar: share of genuine pairs accepted, a number for each false accept rate.
        genuine, impostors: pairs of one person, and of two.
    """

    auc: float
    tar: tuple[float, ...]
    genuine: int
    impostors: int


@torch.no_grad()
def pair_rates(
    faces: Tensor, labels: Tensor, fars: Sequence[float], gallery: Tensor | None = None, block: int = BLOCK
) -> PairRates:
    """AUC and true accept rates over all pairs of different images; the score of a pair is the cosine.

    Without ``gallery`` each pair counts once. With it, a pair is a face and another image's face in the gallery: both
    orders count, and an image is never compared with its own picture in the gallery. A threshold is taken as
    :func:`~fsr_plugins.metrics.false_accepts.decision_threshold` takes it. The rates are exact. Memory beside the
    embeddings: some ``block`` rows of scores, all genuine scores, and the highest impostor scores.

    Args:
        faces: (n, D) float32 of unit length, without NaN, on any device.
        labels: (n,) int64, a number a person, on the same device.
        fars: false accept rates in [0, 1].
        gallery: (n, D), of the same images in the same order.
        block: rows of the score matrix computed at a time.

    Raises:
        UserError: a rate out of range, no genuine or no impostor pair.
    """
    for far in fars:
        check_far(far)
    check_shapes(faces, labels, 'All pairs')
    order = labels.argsort(stable=True)
    labels, one = labels[order], faces[order]
    other = one if gallery is None else gallery[order]
    genuine = torch.cat([_of(scores, same) for scores, same in _people(one, other, labels, gallery is None, block)])
    genuine = genuine.sort().values
    total = len(labels) * (len(labels) - 1) // (2 if gallery is None else 1)
    impostors = total - len(genuine)
    if not len(genuine) or not impostors:
        raise UserError(
            f'{len(labels)} images make {len(genuine)} pairs of one person and {impostors} pairs of two: verification '
            'needs both. Take a set with several people and several images of some of them.'
        )
    accepts = [false_accepts(far, impostors) for far in fars]
    highest, below = HighestScores(max([1, *accepts]), faces.device), 0
    for scores, same in _blocks(one, other, labels, gallery is None, block):
        found = _of(scores, ~same)
        highest.add(found[found > highest.floor])
        ranks = (torch.searchsorted(genuine, found, right=side) for side in (False, True))
        below += sum(int(rank.sum()) for rank in ranks)
    # Twice the genuine scores below an impostor's, ties once.
    auc = 1 - below / (2 * len(genuine) * impostors)
    ordered = highest.values.sort(descending=True).values
    thresholds = [decision_threshold(genuine, ordered[: max(1, count)], count, impostors) for count in accepts]
    tar = tuple(float(accepted(genuine, threshold).double().mean()) for threshold in thresholds)
    return PairRates(auc, tar, len(genuine), impostors)


def _of(scores: Tensor, chosen: Tensor) -> Tensor:
    """The chosen scores that are of a pair (those that are not are NaN), in a row."""
    return scores[chosen & ~scores.isnan()]


def _blocks(one: Tensor, other: Tensor, labels: Tensor, once: bool, block: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores (rows, columns) with NaN where there is no pair, and whether both faces are one person's."""
    for start in range(0, len(labels), block):
        yield _part(one, other, labels, once, slice(start, start + block), slice(start if once else 0, len(labels)))


def _people(one: Tensor, other: Tensor, labels: Tensor, once: bool, block: int) -> Iterator[tuple[Tensor, Tensor]]:
    """As :func:`_blocks`, of the columns only in which the rows' people are; labels are in ascending order."""
    for start in range(0, len(labels), block):
        mine = labels[start : start + block]
        begin = start if once else int(torch.searchsorted(labels, mine[0]))
        end = int(torch.searchsorted(labels, mine[-1], right=True))
        yield _part(one, other, labels, once, slice(start, start + block), slice(begin, end))


def _part(one: Tensor, other: Tensor, labels: Tensor, once: bool, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
    scores = cosines(one[rows], other[columns])
    place = torch.arange(len(labels), device=labels.device)
    here, there = place[rows, None], place[None, columns]
    scores.masked_fill_(here >= there if once else here == there, math.nan)
    return scores, labels[rows, None] == labels[None, columns]


@METRIC_REGISTRY.register()
class AllPairs(Metric):
    """Verification over all pairs of a set by a recogniser: AUC, and true accept rates at low false accept rates.

    Both faces are the network's (SR to SR); where HR is known also one of them HR's (SR to HR), as when a restored face
    is looked up among good photographs. Faces are aligned by the landmarks of HR; those that cannot be are left out and
    counted as ``missing``. The set has to give `views: [identity]`.
    """

    better = 'higher'
    needs_gt = False
    rates_gt = True

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'recogniser': recogniser_factory}

    def __init__(
        self,
        recogniser: RecogniserLike,
        align: Align = 'none',
        fars: Sequence[float] = (0.01, 0.001),
        trained_with: bool = False,
    ) -> None:
        """
        Args:
            recogniser: see :class:`fsr_plugins.metrics.recogniser.EvaluationRecogniser`.
            align: how faces are brought into the recogniser's input, see ``EvaluationRecogniser``.
            fars: false accept rates in [0, 1], each once.
            trained_with: says that the use of the recogniser in training is known; read by preflight.

        Raises:
            UserError: a rate out of range or given twice, or what the recogniser raises.
        """
        for far in fars:
            check_far(far, 'fars')
        if len(set(fars)) < len(fars):
            raise UserError(f"'fars' of the metric AllPairs is {list(fars)}: give each rate once.")
        self.fars = tuple(fars)
        self.recogniser = EvaluationRecogniser(recogniser, align)
        self.trained_with = trained_with
        rates = ', '.join(f'{100 * far:g} %' for far in fars)
        super().__init__(f'{self.recogniser.name}, align {align}, all pairs, TAR at FAR {rates}')
        self._rows = KeyedRows()
        self._device = torch.device('cpu')

    @classmethod
    def requirements(cls, recogniser: RecogniserLike = None, **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        return recogniser_requirements(recogniser)

    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`.

        Raises:
            UserError: the set does not say whose its images are; or as the recogniser raises.
            ValueError: no ``keys`` in ``meta``.
        """
        if 'identity' not in meta:
            raise UserError(
                "The metric AllPairs tells people apart by the set's identities: add `views: [identity]` to the "
                'validation set.'
            )
        self._device = sr.device
        columns = [meta['identity'], embedding(self.recogniser, sr, meta.get('net'), meta)]
        if gt is not None:
            columns.append(embedding(self.recogniser, gt, 'HR', meta))
        self._rows.add(keys_of(meta), *columns)

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Returns:
            ``auc``, and ``tar_1`` and ``tar_0.1``, the true accept rates by the false accept rate in per cent, of SR to
            SR; ``hr_auc``, ``hr_tar_1`` and ``hr_tar_0.1`` of SR to HR; ``genuine`` and ``impostors``, the pairs of SR
            to SR; ``missing``, the faces that were left out.

        Raises:
            UserError: no image, or no two sorts of pairs.
        """
        keys, columns = self._rows.gather()
        if not keys:
            raise UserError("The metric 'all_pairs' saw no image: the validation set is empty.")
        labels, *embeddings = (column.to(self._device) for column in columns)
        there = torch.stack([each.isfinite().all(dim=1) for each in embeddings]).all(dim=0)
        sr, *hr = (each[there] for each in embeddings)
        labels = labels[there].long()
        own = pair_rates(sr, labels, self.fars)
        found = self._named(own, '')
        for gallery in hr:
            found |= self._named(pair_rates(sr, labels, self.fars, gallery), 'hr_')
        return found | {'genuine': own.genuine, 'impostors': own.impostors, 'missing': int((~there).sum())}

    def _named(self, rates: PairRates, prefix: str) -> dict[str, float]:
        tar = {f'{prefix}tar_{100 * far:g}': rate for far, rate in zip(self.fars, rates.tar, strict=True)}
        return {f'{prefix}auc': rates.auc, **tar}
