"""Verification over all pairs of a set: area under the ROC curve, and true accepts at low false accept rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import recogniser_factory
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric
from fsr_plugins.metrics.false_accepts import (
    BLOCK,
    HighestScores,
    accepted,
    check_both,
    check_far,
    check_shapes,
    cosines,
    count_pairs,
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
        pairs: (2, genuine), the places of the genuine pairs' faces, those of the gallery second; the same for all faces
            of these labels.
        above: (genuine,) float64, the share of impostor pairs that are less alike than the pair: its mean is the AUC.
        accepted: (rates, genuine) bool: the mean of a row is its true accept rate.
    """

    auc: float
    tar: tuple[float, ...]
    genuine: int
    impostors: int
    pairs: Tensor
    above: Tensor
    accepted: Tensor


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
    found = [
        (part.scores[part.same], part.same.nonzero().T + corner)
        for part, corner in _people(one, other, labels, gallery is None, block)
    ]
    genuine, ranks = torch.cat([scores for scores, _ in found]).sort()
    pairs = order[torch.cat([pairs for _, pairs in found], dim=1)]
    # By pairs, whose order hangs on no score: two networks are compared pair by pair.
    place = ranks.argsort()
    total = len(labels) * (len(labels) - 1) // (2 if gallery is None else 1)
    impostors = total - len(genuine)
    check_both(len(labels), len(genuine), impostors)
    accepts = [false_accepts(far, impostors) for far in fars]
    highest = HighestScores(max([1, *accepts]), faces.device)
    # By how many genuine scores are below an impostor's, how many impostors there are; ties count for half of both.
    counts = torch.zeros(len(genuine) + 1, dtype=torch.int64, device=faces.device)
    for part in _blocks(one, other, labels, gallery is None, block):
        strangers = part.scores[part.strangers]
        highest.add(strangers[strangers > highest.floor])
        for side in (False, True):
            counts += torch.searchsorted(genuine, strangers, right=side).bincount(minlength=len(counts))
    above = counts[:-1].cumsum(dim=0).double() / (2 * impostors)
    ordered = highest.values.sort(descending=True).values
    thresholds = [decision_threshold(genuine, ordered[: max(1, count)], count, impostors) for count in accepts]
    right = torch.stack([accepted(genuine, threshold) for threshold in thresholds])
    tar = tuple(right.double().mean(dim=1).tolist())
    return PairRates(float(above.mean()), tar, len(genuine), impostors, pairs, above[place], right[:, place])


class _Part(NamedTuple):
    """Some rows and columns of all scores, and which of them are of a pair of one person, which of two."""

    scores: Tensor
    same: Tensor
    strangers: Tensor


def _blocks(one: Tensor, other: Tensor, labels: Tensor, once: bool, block: int) -> Iterator[_Part]:
    """All scores, so many rows at a time."""
    for start in range(0, len(labels), block):
        yield _part(one, other, labels, once, slice(start, start + block), slice(start if once else 0, len(labels)))


def _people(one: Tensor, other: Tensor, labels: Tensor, once: bool, block: int) -> Iterator[tuple[_Part, Tensor]]:
    """As :func:`_blocks`, of the columns only in which the rows' people are, with the place (2, 1) of each first score.

    Labels are in ascending order.
    """
    for start in range(0, len(labels), block):
        mine = labels[start : start + block]
        begin = start if once else int(torch.searchsorted(labels, mine[0]))
        end = int(torch.searchsorted(labels, mine[-1], right=True))
        part = _part(one, other, labels, once, slice(start, start + block), slice(begin, end))
        yield part, torch.tensor([[start], [begin]], device=labels.device)


def _part(one: Tensor, other: Tensor, labels: Tensor, once: bool, rows: slice, columns: slice) -> _Part:
    place = torch.arange(len(labels), device=labels.device)
    here, there = place[rows, None], place[None, columns]
    counts = here < there if once else here != there
    same = labels[rows, None] == labels[None, columns]
    return _Part(cosines(one[rows], other[columns]), counts & same, counts & ~same)


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
        first: str = 'auc',
        trained_with: bool = False,
    ) -> None:
        """
        Args:
            recogniser: see :class:`fsr_plugins.metrics.recogniser.EvaluationRecogniser`.
            align: how faces are brought into the recogniser's input, see ``EvaluationRecogniser``.
            fars: false accept rates in [0, 1], each once.
            first: the metric's own value, of which suites test differences: ``auc``, ``tar_1``, ``hr_auc`` …, as
                :meth:`compute` names them. Intervals take the impostor pairs as given.
            trained_with: says that the use of the recogniser in training is known; read by preflight.

        Raises:
            UserError: a rate out of range or given twice, an unknown value, or what the recogniser raises.
        """
        for far in fars:
            check_far(far, 'fars')
        if len(set(fars)) < len(fars):
            raise UserError(f"'fars' of the metric AllPairs is {list(fars)}: give each rate once.")
        self.fars = tuple(fars)
        known = [f'{prefix}{name}' for prefix in ('', 'hr_') for name in ('auc', *map(_tar, fars))]
        if first not in known:
            raise UserError(f"'first' of the metric AllPairs is '{first}': choose one of {', '.join(known)}.")
        self.first = first
        self.recogniser = EvaluationRecogniser(recogniser, align)
        self.trained_with = trained_with
        rates = ', '.join(f'{100 * far:g} %' for far in fars)
        super().__init__(f'{first}, {self.recogniser.name}, align {align}, all pairs, TAR at FAR {rates}')
        self._rows = KeyedRows()
        self._device = torch.device('cpu')

    @classmethod
    def requirements(cls, recogniser: RecogniserLike = None, **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        return recogniser_requirements(recogniser)

    def check_set(self, keys: Sequence[str], identities: npt.NDArray[np.int64] | None) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.check_set`.

        Raises:
            UserError: no two sorts of pairs.
        """
        if identities is not None:
            check_both(len(keys), *count_pairs(torch.from_numpy(identities)))

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
        rates = {'': pair_rates(sr, labels, self.fars)}
        for gallery in hr:
            rates['hr_'] = pair_rates(sr, labels, self.fars, gallery)
        found: dict[str, float] = {}
        values: dict[str, tuple[Tensor, Tensor]] = {}
        for prefix, each in rates.items():
            named = {'auc': (each.auc, each.above)}
            right = each.accepted.double()
            named |= {_tar(far): (each.tar[row], right[row]) for row, far in enumerate(self.fars)}
            found |= {f'{prefix}{name}': value for name, (value, _) in named.items()}
            values |= {f'{prefix}{name}': (each.pairs, of_pairs) for name, (_, of_pairs) in named.items()}
        if self.first not in found:
            raise UserError(f"The metric AllPairs has no '{self.first}', as the validation set has no HR.")
        pairs, outcomes = values[self.first]
        known = list(compress(keys, there.tolist()))
        self.outcomes = {self.first: outcomes.cpu()}
        one, other = ([known[place] for place in side] for side in pairs.tolist())
        self.pair_keys = {self.first: (one, other)}
        found = {self.first: found.pop(self.first), **found}
        counts = {'genuine': rates[''].genuine, 'impostors': rates[''].impostors, 'missing': int((~there).sum())}
        return found | counts


def _tar(far: float) -> str:
    return f'tar_{100 * far:g}'
