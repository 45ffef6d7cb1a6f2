"""Verification at a false accept rate over all pairs of a set, without ever holding all scores."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fsr_plugins.errors import UserError

#: Rows of the score matrix at a time: 20 MB of scores for the 9,708 images of a BLUFR trial.
BLOCK = 512

#: The distance to the nearest score of a threshold that no score determines: the square root of float64's epsilon.
MARGIN = math.sqrt(torch.finfo(torch.float64).eps)

#: The score of a face that has no embedding: below every cosine, and never accepted.
FAILED = -2.0


class OperatingPoint(NamedTuple):
    """A rate in [0, 1] and the score from which on (``>=``) a pair or probe is accepted."""

    rate: float
    threshold: float


class HighestScores:
    """The ``count`` highest of scores that come in parts.

    Attributes:
        floor: only scores above it can still be among them; ``-inf`` until ``count`` scores have come.
        values: (<= count,), descending once ``count`` scores have come.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.count = count
        self.floor = torch.tensor(-math.inf, device=device)
        self.values = torch.empty(0, device=device)

    def add(self, scores: Tensor) -> None:
        """Takes in (M,) scores."""
        self.values = torch.cat([self.values, scores])
        if len(self.values) >= self.count:
            self.values = self.values.topk(self.count).values
            self.floor = self.values[-1]


def check_far(far: float, name: str = 'far') -> None:
    """A false accept rate lies in [0, 1].

    Raises:
        UserError: it does not.
    """
    if not 0 <= far <= 1:
        raise UserError(f"'{name}' is {far}: a false accept rate lies in [0, 1], 0.001 for 0.1 %.")


def false_accepts(far: float, impostors: int) -> int:
    """How many of ``impostors`` scores are accepted at ``far``: the nearest whole number, halves up, as in BLUFR."""
    return math.floor(far * impostors + 0.5)


def decision_threshold(genuine: Tensor, highest: Tensor, accepts: int, impostors: int) -> float:
    """The threshold at which ``accepts`` impostor scores are accepted (more if scores tie), as BLUFR's code takes it.

    It is the impostor score of that place. At 0 it lies halfway between the highest impostor score and the next higher
    genuine one, or :data:`MARGIN` above the former if there is none; at ``impostors`` it lies ``MARGIN`` below all.

    Args:
        genuine: (G,), G > 0.
        highest: the ``max(accepts, 1)`` highest impostor scores, descending.
        accepts: see :func:`false_accepts`.
        impostors: number of all impostor scores, > 0.
    """
    if accepts == 0:
        above = genuine[genuine > highest[0]].double()
        top = float(highest[0])
        return (top + float(above.min())) / 2 if len(above) else top + MARGIN
    if accepts == impostors:
        return min(float(highest[-1]), float(genuine.min())) - MARGIN
    return float(highest[accepts - 1])


def count_pairs(labels: Tensor) -> tuple[int, int]:
    """How many of the pairs of (n,) labels are genuine (of one person), and how many are not."""
    sizes = labels.unique(return_counts=True)[1]
    genuine = int((sizes * (sizes - 1) // 2).sum())
    return genuine, len(labels) * (len(labels) - 1) // 2 - genuine


def check_both(images: int, genuine: int, impostors: int) -> None:
    """Sees that there are pairs of one person, and of two.

    Raises:
        UserError: one kind is missing.
    """
    if not genuine or not impostors:
        raise UserError(
            f'{images} images make {genuine} pairs of one person and {impostors} pairs of two: verification needs '
            'both. Take a set with several people and several images of some of them.'
        )


def check_shapes(embeddings: Tensor, labels: Tensor, what: str) -> None:
    """Compares the sizes.

    Raises:
        ValueError: other shapes than (n, D) and (n,).
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f'{what}: (n, D) embeddings and (n,) labels needed, not {(*embeddings.shape,)}, {(*labels.shape,)}.'
        )


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Scores (n, m) of (n, D) and (m, D) of unit length; :data:`FAILED` where one of the two is NaN."""
    return (first @ second.T).nan_to_num_(nan=FAILED)


def accepted(genuine: Tensor, threshold: float) -> Tensor:
    """Which of the scores are accepted: those from ``threshold`` on, compared in float64, but no failure."""
    return (genuine.double() >= threshold) & (genuine > FAILED)


@torch.no_grad()
def verification_rate(embeddings: Tensor, labels: Tensor, far: float, block: int = BLOCK) -> OperatingPoint:
    """The share of genuine pairs accepted at the threshold where a share ``far`` of impostor pairs is.

    Every pair of two different images counts once; its score is the cosine. Conventions are those of BLUFR's evaluation
    code (``EvalROC.m``, version 1.0): see :func:`false_accepts` and :func:`decision_threshold`; acceptance is ``>=``.
    Scores are float32, where that code's are float64. A face that could not be embedded (NaN) matches nobody: its
    genuine pairs are rejected, its impostor pairs are no false accepts.

    Memory beside the embeddings: ``block`` rows of scores, all genuine scores and the ``far`` highest impostor scores.
    For a trial of BLUFR at FAR 0.1 % that is about 0.2 GB; it takes one product of n²·D/2.

    Args:
        embeddings: (n, D) float32 of unit length, on any device.
        labels: (n,) int64, a number a person, on the same device.
        far: false accept rate in [0, 1].
        block: rows of the score matrix computed at a time.

    Raises:
        UserError: a ``far`` out of range, no genuine or no impostor pair.
    """
    check_far(far)
    check_shapes(embeddings, labels, 'Verification')
    genuine_count, impostors = count_pairs(labels)
    check_both(len(labels), genuine_count, impostors)
    accepts = false_accepts(far, impostors)
    genuine = []
    highest = HighestScores(max(accepts, 1), embeddings.device)
    for start in range(0, len(labels), block):
        scores = cosines(embeddings[start : start + block], embeddings[start:])
        same = labels[start : start + block, None] == labels[start:]
        # Each pair once: the diagonal and what lies below it are left out.
        rows = len(scores)
        counted = torch.ones(rows, rows, dtype=torch.bool, device=scores.device).tril_()
        same[:, :rows].masked_fill_(counted, False)
        genuine.append(scores.masked_select(same))
        scores.masked_fill_(same, -math.inf)[:, :rows].masked_fill_(counted, -math.inf)
        highest.add(scores.masked_select(scores > highest.floor))
    scores = torch.cat(genuine)
    threshold = decision_threshold(scores, highest.values, accepts, impostors)
    return OperatingPoint(float(accepted(scores, threshold).double().mean()), threshold)
