"""Face verification: same person or not, by the cosine of two embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import recogniser_factory
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric
from fsr_plugins.metrics.gathering import KeyedRows, keys_of
from fsr_plugins.metrics.pairs import Pairs, draw_pairs, read_pairs
from fsr_plugins.metrics.recogniser import (
    Align,
    EvaluationRecogniser,
    RecogniserLike,
    embedding,
    recogniser_requirements,
)
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile

#: Cosines that are tried as thresholds, in steps of 0.005 as SphereFace's evaluation script takes them.
THRESHOLDS = np.linspace(-1, 1, 401, dtype=np.float64)
#: Whose the second face of a pair is.
Gallery = Literal['sr', 'hr']
#: Pairs whose embeddings are copied at once.
_PART = 1 << 16


class FoldAccuracies(NamedTuple):
    """Accuracy on each fold (F,), and the threshold (F,) that is best on the others."""

    accuracy: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]


def fold_accuracies(cosine: npt.ArrayLike, same: npt.ArrayLike, fold: npt.ArrayLike) -> FoldAccuracies:
    """LFW's protocol (Huang et al. 2007): each fold's accuracy at the threshold that is best on all others.

    A pair is taken for the same person's if its cosine exceeds the threshold, one of :data:`THRESHOLDS`. Of several
    best thresholds the middle one is taken. SphereFace takes the lowest, as near to the impostors of the other folds
    as possible. That costs accuracy if pairs are few and best thresholds many.

    Args:
        cosine: (n,) in [-1, 1].
        same: (n,) bool.
        fold: (n,) from 0 to F - 1, each occurring, F at least 2.
    """
    cosine, same, fold = np.asarray(cosine), np.asarray(same, dtype=np.int64), np.asarray(fold, dtype=np.int64)
    folds, bins = int(fold.max()) + 1, len(THRESHOLDS) + 1
    # How many thresholds a cosine exceeds: the k-th one (from 0) if that is more than k.
    exceeded = np.searchsorted(THRESHOLDS, cosine, side='left')
    counts = np.bincount((fold * 2 + same) * bins + exceeded, minlength=folds * 2 * bins).reshape(folds, 2, bins)
    below = counts.cumsum(axis=2)[:, :, :-1]
    sizes = counts.sum(axis=(1, 2))
    right = below[:, 0] + counts[:, 1].sum(axis=1, keepdims=True) - below[:, 1]
    others = right.sum(axis=0) - right
    chosen = [best[(len(best) - 1) // 2] for best in map(np.flatnonzero, others == others.max(axis=1, keepdims=True))]
    return FoldAccuracies(right[np.arange(folds), chosen] / sizes, THRESHOLDS[chosen])


@METRIC_REGISTRY.register()
class Verification(Metric):
    """Accuracy of telling same from different people by a recogniser, mean over the folds of a list of pairs.

    Pairs with an image that is not in the set, or whose face cannot be aligned, are left out and counted as
    ``missing``. Faces are aligned by the landmarks of HR.
    """

    better = 'higher'
    needs_gt = False
    rates_gt = True

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'recogniser': recogniser_factory}

    def __init__(
        self,
        recogniser: RecogniserLike,
        pairs: str | None = None,
        align: Align = 'none',
        folds: int = 10,
        per_fold: int = 300,
        seed: int = 0,
        nearest: int | None = None,
        gallery: Gallery = 'sr',
        trained_with: bool = False,
    ) -> None:
        """
        Args:
            recogniser: see :class:`fsr_plugins.metrics.recogniser.EvaluationRecogniser`.
            pairs: file for :func:`~fsr_plugins.metrics.pairs.read_pairs`; None draws pairs of the set's own people,
                which needs `views: [identity]`.
            align: how faces are brought into the recogniser's input, see ``EvaluationRecogniser``.
            folds, per_fold, seed: for :func:`~fsr_plugins.metrics.pairs.draw_pairs`; not looked at with ``pairs``.
            nearest: draws impostors only among each person's so many most similar others, by its embeddings of HR:
                the same pairs for every network. None: among all. Not looked at with ``pairs``.
            gallery: ``'sr'``: both faces of a pair are the network's; ``'hr'``: the second is HR's, as when a small
                face is looked up among good photographs.
            trained_with: says that the use of the recogniser in training is known; read by preflight.

        Raises:
            UserError: a faulty list of pairs, fewer than two folds, another ``gallery``, or what the recogniser raises.
        """
        self.pairs = None if pairs is None else _read(pairs)
        if folds < 2:
            raise UserError(f"'folds' of the metric Verification is {folds}: a threshold needs another fold, give two.")
        if gallery not in get_args(Gallery):
            raise UserError(f"'gallery' of the metric Verification is '{gallery}': choose one of sr, hr.")
        self.drawing = {'folds': folds, 'per_fold': per_fold, 'seed': seed}
        self.nearest = nearest
        self.gallery = gallery
        self.takes_hr = gallery == 'hr' or (pairs is None and nearest is not None)
        self.recogniser = EvaluationRecogniser(recogniser, align)
        self.trained_with = trained_with
        count = f'{2 * folds * per_fold} pairs drawn by seed {seed}'
        count += '' if nearest is None else f', impostors among the {nearest} nearest people'
        if self.pairs is not None:
            count, folds = f'{len(self.pairs)} pairs', len(np.unique(self.pairs.fold))
        beside = ', against HR' if gallery == 'hr' else ''
        super().__init__(f'{self.recogniser.name}, align {align}{beside}, {count}, {folds} folds')
        self._rows = KeyedRows()

    @classmethod
    def requirements(
        cls, recogniser: RecogniserLike = None, pairs: str | None = None, **others: object
    ) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`; the list of pairs is looked at, too."""
        if pairs is not None:
            _read(pairs)
        return recogniser_requirements(recogniser)

    def check_set(self, keys: Sequence[str], identities: npt.NDArray[np.int64] | None) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.check_set`.

        Raises:
            UserError: as :meth:`compute`, of pairs that are not there.
        """
        if self.pairs is not None:
            there = set(keys)
            sides = zip(self.pairs.first, self.pairs.second, strict=True)
            _check_compared(self.pairs, np.array([one in there and other in there for one, other in sides], bool))
        elif identities is not None:
            # Among the nearest people there are fewer impostors still, which embeddings tell.
            draw_pairs(keys, identities, **self.drawing)

    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`.

        Raises:
            UserError: pairs are to be drawn and the set does not say whose its images are; or as its recogniser raises.
            ValueError: no ``keys`` in ``meta``.
        """
        columns = [embedding(self.recogniser, sr, meta.get('net'), meta)]
        if self.takes_hr:
            if gt is None:
                raise UserError(
                    "The metric Verification with 'gallery: hr' or 'nearest' needs HR, which the validation set does "
                    "not have: leave both out, or give the set 'dataroot_gt'."
                )
            columns.append(embedding(self.recogniser, gt, 'HR', meta))
        if self.pairs is None:
            if 'identity' not in meta:
                raise UserError(
                    "The metric Verification without 'pairs' draws them among the set's people: add "
                    "`views: [identity]` to the validation set, or name a file under 'pairs'."
                )
            columns.append(meta['identity'])
        self._rows.add(keys_of(meta), *columns)

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Returns:
            ``verification``, the mean accuracy over the folds; ``std``, the standard deviation over them (of n - 1, as
            in LFW's estimate of the error); ``pairs``, how many were compared, and ``missing``, how many were not.

        Raises:
            UserError: no pair of a fold can be compared; or as ``draw_pairs``.
        """
        keys, columns = self._rows.gather()
        if not keys:
            raise UserError("The metric 'verification' saw no image: the validation set is empty.")
        hr = columns[1] if self.takes_hr else None
        pairs = self.pairs
        if pairs is None:
            known = None if hr is None else hr.numpy()
            pairs = draw_pairs(keys, columns[-1].numpy(), **self.drawing, nearest=self.nearest, embeddings=known)
        cosine = pair_cosines(pairs, keys, columns[0], hr if self.gallery == 'hr' else None)
        compared = np.isfinite(cosine)
        _check_compared(pairs, compared)
        _, fold = np.unique(pairs.fold, return_inverse=True)
        accuracy, threshold = fold_accuracies(cosine[compared], pairs.same[compared], fold[compared])
        right = (cosine > threshold[fold]) == pairs.same
        self.outcomes = {'verification': torch.from_numpy(right[compared]).double()}
        first, second = (list(compress(side, compared.tolist())) for side in (pairs.first, pairs.second))
        self.pair_keys = {'verification': (first, second)}
        return {
            'verification': float(accuracy.mean()),
            'std': float(accuracy.std(ddof=1)),
            'pairs': int(compared.sum()),
            'missing': int((~compared).sum()),
        }


def pair_cosines(
    pairs: Pairs, keys: list[str], embeddings: Tensor, gallery: Tensor | None = None
) -> npt.NDArray[np.float64]:
    """Cosine of each pair's embeddings (n,), NaN where an image is missing or has none.

    Args:
        pairs: the list.
        keys: of the rows of ``embeddings``, unique.
        embeddings: (N, D) of unit length, or NaN.
        gallery: those of the pairs' second faces; None: the same.
    """
    gallery = embeddings if gallery is None else gallery
    place = {key: row for row, key in enumerate(keys)}
    rows = torch.tensor([[place.get(key, -1) for key in side] for side in (pairs.first, pairs.second)])
    parts = [(embeddings[one] * gallery[other]).sum(dim=1) for one, other in rows.split(_PART, dim=1)]
    cosine = torch.cat(parts).double().clamp(-1, 1)
    return cosine.where((rows >= 0).all(dim=0), torch.nan).numpy()


def _check_compared(pairs: Pairs, compared: npt.NDArray[np.bool_]) -> None:
    """Sees that there is a pair in each fold, of which ``compared`` says whether both images are there."""
    if not compared.any():
        raise UserError(
            f"The metric 'verification' can compare none of {len(pairs)} pairs, such as '{pairs.first[0]}' and "
            f"'{pairs.second[0]}': the validated set does not hold their images, or no face could be aligned."
        )
    empty = np.setdiff1d(pairs.fold, pairs.fold[compared])
    if empty.size:
        raise UserError(
            f"The metric 'verification' can compare no pair of fold {empty[0]}: validate on the whole set the list is "
            'made for, or use a list of this set.'
        )


def _read(path: str) -> Pairs:
    """A list of at least two folds."""
    pairs = read_pairs(path)
    if len(np.unique(pairs.fold)) < 2:
        raise UserError(f"The list of pairs '{path}' has a single fold: a threshold is chosen on others, give two.")
    return pairs
