"""Notices that a training has left its course, while there is something to be saved."""

from __future__ import annotations

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)

#: So many times what a loss ever was is no course of a training any more. Adversarial losses rise by tens.
_TIMES = 1000.0


class Course:
    """The largest value of each loss so far; the first that leaps far above its own is said, once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._largest: dict[str, float] = {}
        self._said = False

    def see(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Takes the logged values of an iteration; those whose names begin with ``l_`` are losses."""
        for key, value in losses.items():
            if not key.startswith('l_'):
                continue
            before = self._largest.get(key, 0.0)
            if before and abs(value) > _TIMES * before and not self._said:
                self._said = True
                logger.warning(
                    '%s: at iteration %d %s is %.3g, a thousand times what it ever was (%.3g): the training seems to '
                    "have diverged. Stop it; lower 'lr' or set 'train.clip_grad_norm'.",
                    self._name, iteration, key, value, before,
                )  # fmt: skip
            self._largest[key] = max(before, abs(value))
