"""How a training sees faces by a recogniser: aligned or not, relative to the mean face or not."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.data.batches import Batch
from fsr_plugins.data.compare_index import check_alignable
from fsr_plugins.errors import UserError
from fsr_plugins.faces import aligned_for
from fsr_plugins.metrics.recogniser import Align
from fsr_plugins.models.networks import bare

#: So many batches the mean embedding remembers.
_REMEMBERED = 1000


class Embedder:
    """Faces to embeddings, for losses of identity.

    Attributes:
        mean: the running mean of HR's embeddings of unit length, of all processes; None before the first batch.
        batches: how many it remembers.
    """

    def __init__(self, align: Align = 'none', subtract_mean: bool = False) -> None:
        """
        Args:
            align: ``'landmarks'``: faces are aligned by points of the batch.
            subtract_mean: :meth:`relative` takes the mean away. Many recognisers put all faces on one side: of dlib's,
                two strangers' embeddings have a cosine of about 0.8.
        """
        self.align = align
        self.subtract_mean = subtract_mean
        self.mean: Tensor | None = None
        self.batches = 0

    def check(self, dataset: Any) -> None:
        """Sees that all faces of a training set can be aligned where they have to be.

        Raises:
            UserError: the view is absent, or a face's points are unknown.
        """
        if self.align == 'none':
            return
        if 'landmarks' not in getattr(getattr(dataset, 'options', None), 'views', ()):
            raise UserError(
                f"'train.align: landmarks' needs the points of '{dataset.name}': add `views: [landmarks]` to it."
            )
        check_alignable(dataset)

    def embed(self, net: nn.Module, images: Tensor, batch: Batch, *points: str) -> Tensor:
        """Embeddings in float32, whatever the precision of the rest is. Differentiable in the images.

        Args:
            net: a recogniser, maybe wrapped.
            images: (N, 3, H, W) RGB float in [0, 1].
            batch, points: the landmarks (each (n, 5, 2), N in all) are those of these names.

        Returns:
            (N, D).
        """
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            if self.align == 'landmarks':
                own = cast(Recogniser, bare(net))
                landmarks = torch.cat([batch[each] for each in points])
                images, _ = aligned_for(images, landmarks, own.face_size, own.face_points)
            return cast(Tensor, net(images))

    def relative(self, hr: Tensor, *others: Tensor) -> list[Tensor]:
        """Embeddings (N, D) with the mean taken away, where that is wanted; the mean takes in ``hr`` first."""
        if not self.subtract_mean:
            return [hr, *others]
        one = F.normalize(hr.detach())
        total = torch.cat([one.sum(dim=0), one.new_tensor([len(one)])])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)
        mean = total[:-1] / total[-1]
        self.batches = min(self.batches + 1, _REMEMBERED)
        self.mean = mean if self.mean is None else self.mean + (mean - self.mean) / self.batches
        return [F.normalize(each) - self.mean for each in (hr, *others)]

    def state(self) -> dict[str, object]:
        """For a training state; empty where there is nothing to keep."""
        return {'mean_embedding': {'mean': self.mean, 'batches': self.batches}} if self.subtract_mean else {}

    def load(self, state: object, device: torch.device) -> None:
        """Puts :meth:`state` back.

        Raises:
            UserError: it is no such state.
        """
        if not self.subtract_mean:
            return
        match state:
            case {'mean_embedding': {'mean': (Tensor(ndim=1) | None) as mean, 'batches': int(batches)}}:
                self.mean, self.batches = None if mean is None else mean.to(device), batches
            case _:
                raise UserError('its mean embedding is damaged')
