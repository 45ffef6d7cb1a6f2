"""Open-set identification: is a probe's person in the gallery, and who is it?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.false_accepts import (
    OperatingPoint,
    accepted,
    check_far,
    check_shapes,
    cosines,
    decision_threshold,
    false_accepts,
)

#: Probes at a time.
BLOCK = 1024


@torch.no_grad()
def open_set_rate(
    gallery: Tensor,
    gallery_labels: Tensor,
    probes: Tensor,
    probe_labels: Tensor,
    far: float,
    rank: int = 1,
    block: int = BLOCK,
) -> OperatingPoint:
    """Detection and identification rate (DIR): the share of genuine probes that are accepted and identified.

    A probe is genuine if its person is in the gallery, otherwise an impostor. The threshold is the one at which a share
    ``far`` of the impostor probes is accepted by their best score in the gallery. A genuine probe is accepted if its
    best score with its own person reaches the threshold (``>=``). It is identified if that score is among the ``rank``
    highest of the gallery; ties are in the gallery's order. A face that could not be embedded (NaN) is never accepted.

    Conventions are those of BLUFR's evaluation code (``OpenSetROC.m``, version 1.0); for the threshold see
    :func:`~fsr_plugins.metrics.false_accepts.decision_threshold`.

    Args:
        gallery: (G, D) float32 of unit length, on any device.
        gallery_labels: (G,) int64, on the same device.
        probes, probe_labels: (P, D) and (P,), likewise.
        far: false accept rate in [0, 1], of impostor probes.
        rank: place in the gallery from which on an identification is wrong, at least 1.
        block: probes compared with the gallery at a time.

    Raises:
        UserError: ``far`` or ``rank`` out of range, no genuine or no impostor probe.
    """
    check_far(far)
    if rank < 1:
        raise UserError(f"'rank' is {rank}: the first place in the gallery is rank 1.")
    check_shapes(gallery, gallery_labels, 'Gallery')
    check_shapes(probes, probe_labels, 'Probes')
    known = torch.isin(probe_labels, gallery_labels)
    impostors = int((~known).sum())
    if not 0 < impostors < len(known):
        raise UserError(
            f'{len(known)} probes, {impostors} of them of people outside the gallery: open-set identification needs '
            'probes of people in the gallery and of others.'
        )
    best = torch.cat([cosines(part, gallery).amax(1) for part in probes[~known].split(block)])
    parts = zip(probes[known].split(block), probe_labels[known].split(block), strict=True)
    matches = []
    for part, labels in parts:
        scores = cosines(part, gallery)
        own, place = scores.masked_fill(labels[:, None] != gallery_labels, -math.inf).max(dim=1, keepdim=True)
        earlier = torch.arange(scores.shape[1], device=scores.device) < place
        ahead = (scores > own) | ((scores == own) & earlier)
        matches.append((own[:, 0], 1 + ahead.sum(dim=1)))
    genuine, ranks = (torch.cat(values) for values in zip(*matches, strict=True))
    accepts = false_accepts(far, impostors)
    threshold = decision_threshold(genuine, best.sort(descending=True).values, accepts, impostors)
    return OperatingPoint(float((accepted(genuine, threshold) & (ranks <= rank)).double().mean()), threshold)
