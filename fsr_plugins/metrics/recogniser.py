"""The recogniser that metrics of identity evaluate by: named, frozen, and shared by all of them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.archs.recognition import Recogniser, make_recogniser, recogniser_weight
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile, file_sha256, locate

Align = Literal['none', 'landmarks']
#: What a measure of identity takes as ``recogniser``.
RecogniserLike = ReadBlock | Recogniser | None

#: Networks that a process keeps; one more is read again.
_KEPT = 4


class EvaluationRecogniser:
    """A recogniser and the way faces are brought into its input.

    Attributes:
        name: what it is called in results, e.g. ``MobileFaceNet (mobilefacenet_casia.ckpt e839247c)``: class, file and
            the first digits of the file's SHA-256.
        key: equal for recognisers that give the same embeddings; for caches.
        align: ``'none'``, or ``'landmarks'``.
    """

    def __init__(self, recogniser: RecogniserLike, align: Align = 'none') -> None:
        """
        Args:
            recogniser: block, ``{type: MobileFaceNet, path: …, adapt: resize}``, whose network is read once a process;
                or a network in evaluation mode; or None where the one under training will be handed in instead.
            align: ``'none'``: the recogniser's ``adapt`` makes whole images its input; ``'landmarks'``: faces are
                aligned by their points to the recogniser's ``face_points``, or where it has none to
                :func:`fsr_plugins.faces.template_for` its ``face_size``.

        Raises:
            UserError: an unknown ``align``, a faulty block, weights that are absent or of another network.
        """
        if align not in get_args(Align):
            raise UserError(
                f"'align' of an evaluation recogniser is '{align}': choose one of {', '.join(get_args(Align))}."
            )
        self.align = align
        self.net: Recogniser | None = None
        if recogniser is None:
            self.name = key = 'the network under training'
        elif isinstance(recogniser, Recogniser):
            self.net, self.name = recogniser, f'{type(recogniser).__name__} (under training)'
            key = f'{self.name} {id(recogniser)}'
        else:
            file = locate(recogniser_weight(recogniser))
            status = file.stat()
            digest = _digest(file, status.st_size, status.st_mtime_ns)
            # The digest, because a stage may write another network to the same path.
            key = json.dumps([{**recogniser, 'path': str(file)}, digest], sort_keys=True)
            self.net, self.name = _network(key), f'{recogniser["type"]} ({file.name} {digest[:8]})'
        self.key = f'{key} {align}'

    @torch.no_grad()
    def embed(self, images: Tensor, landmarks: Tensor | None = None) -> Tensor:
        """Embeddings of unit length, in float32 under mixed precision too; without gradients.

        A face whose landmarks are unknown (not finite) or lie in one point cannot be aligned: its embedding is NaN,
        which the caller has to count as a failure.

        Args:
            images: (N, 3, H, W) RGB float in [0, 1].
            landmarks: (N, 5, 2) in their pixels; only looked at with ``align`` ``'landmarks'``.

        Returns:
            (N, D) float32 on the images' device.

        Raises:
            UserError: there is no network, or there are no landmarks to align by.
            ValueError: the network handed in is in training mode.
        """
        if self.net is None:
            raise UserError(
                "A measure of identity has 'recogniser: null', the network under training, and this model hands none "
                'in: give a block, e.g. {type: MobileFaceNet, path: …}.'
            )
        if self.net.training:
            raise ValueError(f'{type(self.net).__name__} is in training mode: it would see the batch, not a face.')
        # The device is known from the images on; moving a module that is there already costs nothing.
        net = self.net.to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            if self.align == 'none':
                return F.normalize(net(images.float()))
            if landmarks is None:
                raise UserError(
                    "A measure of identity has 'align: landmarks', and the validation set gives none: add "
                    '`views: [landmarks]` to it.'
                )
            from fsr_plugins.faces import aligned_for

            faces, good = aligned_for(images.float(), landmarks, net.face_size, net.face_points)
            return F.normalize(net(faces)).where(good[:, None], torch.nan)


def embedding(recogniser: EvaluationRecogniser, images: Tensor, which: str | None, meta: BatchMeta) -> Tensor:
    """Embeddings of one batch, computed once where ``meta`` has a cache.

    Args:
        recogniser: what embeds.
        images: (N, 3, H, W) RGB float in [0, 1].
        which: whose images these are: the name of a network, or ``'HR'``; None: not known, nothing is kept.
        meta: as for :meth:`fsr_plugins.metrics.base.Metric.update`.

    Returns:
        As :meth:`EvaluationRecogniser.embed`, and as it raises.
    """
    cache = meta.get('cache')
    if cache is None or which is None:
        return recogniser.embed(images, meta.get('landmarks'))
    key = ('embedding', recogniser.key, which)
    if key not in cache:
        cache[key] = recogniser.embed(images, meta.get('landmarks'))
    return cache[key]


def recogniser_requirements(recogniser: RecogniserLike) -> list[WeightFile]:
    """The weights of a recogniser, fetched at once where they have to be; none of a network that is handed in.

    Raises:
        UserError: they are absent; the message says how to go on without them.
    """
    if recogniser is None or isinstance(recogniser, Recogniser):
        return []
    try:
        weight = recogniser_weight(recogniser)
        return [replace(weight, path=str(locate(weight)))]
    except UserError as error:
        raise UserError(f'{error} Or leave this metric out of val.metrics.') from error


@lru_cache(maxsize=_KEPT)
def _network(key: str) -> Recogniser:
    """The frozen network of a key."""
    return make_recogniser(json.loads(key)[0])


@lru_cache(maxsize=16)
def _digest(file: Path, size: int, changed: int) -> str:
    """Hexadecimal SHA-256; read again only when size or time of change are others."""
    return file_sha256(file)
