"""Which faces of the same person are most similar, as a recogniser sees them; found once and stored."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.data.neighbours import nearest_of_same_identity
from fsr_plugins.data.options import Block
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.stores.cached_array import cached_array
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.once import built_folder
from fsr_plugins.stores.progress import progress
from fsr_plugins.threads import available_cores
from fsr_plugins.weights import file_sha256, locate

if TYPE_CHECKING:
    from fsr_plugins.archs.recognition import Recogniser
    from fsr_plugins.metrics.recogniser import Align

logger = logging.getLogger(__name__)

#: Goes up when the same data and recogniser would give other results.
_VERSION = 1
#: So many neighbours are kept at least, so that small changes of k need no new search.
_KEPT = 8
_BATCH = 256
_MOST_THREADS = 16


class CompareIndex:
    """For each face of a dataset the most similar other faces of its person (C-Face, Section 3.3: the smallest L_SI).

    For unit vectors the smallest L_SI = |a - b|² = 2 - 2·a·b is the largest cosine. Embeddings and neighbours are kept
    in ``$FSR_DATASETS/compare`` (or ``datasets/compare``), each under a name made of what it depends on: content of the
    store, choice of images, recogniser, weights and arguments; for neighbours also identities and how many. So nothing
    old is ever used, and another ``k`` or other identities find the embeddings there. These are float32: halving them
    would save a gigabyte at half a million faces, but its rounding, 2^-11, exceeds the distance between neighbours.

    Args:
        images: The faces, none turned or cut; the store holds identities.
        recogniser: Block of a recogniser, as ``make_recogniser`` takes it.
        k: How many neighbours are wanted.
        align: ``'landmarks'``: faces are aligned by the images' view ``landmarks`` first.

    Raises:
        UserError: the recogniser's weights are absent, its block is wrong, the store holds no identities, or a face
            that has to be aligned cannot be.
    """

    def __init__(self, images: HRDataset, recogniser: Block, k: int, align: Align = 'none') -> None:
        if images.gt.identities is None:
            raise UserError(f"'{images.gt.place}' holds no identities; prepare the data with them.")
        from fsr_plugins.archs.recognition import recogniser_weight

        self._images = images
        self._recogniser = dict(recogniser)
        self._align = align
        self._k = k
        self._identities = images.gt.identities[images.chosen]
        self._seen = {
            'version': _VERSION,
            'store': store_checksum(images.gt),
            'images': _sha256(images.chosen),
            'recogniser': {key: value for key, value in recogniser.items() if key != 'path' and value is not None},
            'weights': file_sha256(locate(recogniser_weight(recogniser))),
        }
        if align == 'landmarks':
            points = check_alignable(images)
            self._seen['landmarks'] = _sha256(points)

    def neighbours(self) -> npt.NDArray[np.int64]:
        """Numbers of the ``k`` nearest faces, nearest first, int64 (len, k); -1 where the person has fewer others.

        Computed and stored if they are not there yet, on a GPU where there is one.

        Raises:
            UserError: the recogniser cannot be built, an image does not decode, or the place cannot be written.
            RunError: an embedding is not finite.
        """
        kept = max(self._k, _KEPT)
        about = {'what': 'neighbours', **self._seen, 'identities': _sha256(self._identities), 'k': kept}

        def build(path: Path) -> None:
            logger.info('Searching the nearest faces of each person among %d (once).', len(self._images))
            np.save(path, nearest_of_same_identity(self.embeddings(), self._identities, kept))

        return np.array(cached_array(self._folder(), about, build)[:, : self._k])

    def embeddings(self) -> npt.NDArray[np.float32]:
        """The faces' embeddings of unit length, float32 (len, D), a memory map; raises as :meth:`neighbours`."""

        def build(path: Path) -> None:
            from fsr_plugins.archs.recognition import make_recogniser

            _embed(self._images, make_recogniser(self._recogniser), self._align, path)

        return cached_array(self._folder(), {'what': 'embeddings', **self._seen}, build)

    def _folder(self) -> Path:
        return built_folder('compare', *(part.path for part in self._images.gt.parts))


def _sha256(array: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def check_alignable(images: HRDataset) -> npt.NDArray[np.float32]:
    """The landmarks of a dataset, (len, 5, 2), all of which can be aligned by.

    Raises:
        UserError: there are none, or some are unknown or lie in one point.
    """
    from fsr_plugins.faces import alignable

    if images.gt.landmarks is None:
        raise UserError(f"'{images.gt.place}' holds no landmarks to align by: prepare them, or set 'align: none'.")
    points = np.asarray(images.gt.landmarks[images.chosen], np.float32)
    wrong = np.flatnonzero(~alignable(torch.from_numpy(points)).numpy())
    if wrong.size:
        key = images.gt.keys[images.chosen[wrong[0]]]
        raise UserError(
            f"{wrong.size} of {len(points)} faces of the dataset '{images.name}' cannot be aligned, as their points "
            f"are unknown or lie in one point (the first is '{key}'): leave them out by 'exclude_keys', or set "
            "'align: none'."
        )
    return points


def _embed(images: HRDataset, recogniser: Recogniser, align: Align, path: Path) -> None:
    from fsr_plugins.metrics.recogniser import EvaluationRecogniser

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    embedder = EvaluationRecogniser(recogniser, align)
    out = _reserved(path, (len(images), recogniser.embedding_size))
    name = type(recogniser).__name__
    logger.info("Embedding %d faces of '%s' by %s (once).", len(images), images.gt.path, name)
    threads = min(available_cores(), _MOST_THREADS)
    with EvalLoader(images, _BATCH, threads=threads) as loader, torch.inference_mode():
        for batch in progress(loader, len(loader), f'{name}, batches'):
            faces = batch['gt'].to(device).permute(0, 3, 1, 2) / 255
            found = embedder.embed(faces, batch.get('landmarks')).cpu().numpy()
            wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
            if wrong.size:
                where = images.gt.where(batch['gt_path'][wrong[0]])
                raise RunError(f"{name}'s embedding of '{where}' is not finite; its weights may be damaged.")
            out[batch['index'].numpy()] = found
    out.flush()


def _reserved(path: Path, shape: tuple[int, int]) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    """A float32 ``.npy`` file as a memory map whose space on disk is taken: writing where there is none kills."""
    out: np.memmap[tuple[int, int], np.dtype[np.float32]] = np.lib.format.open_memmap(path, 'w+', np.float32, shape)
    try:
        with path.open('r+b') as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise UserError(
            f"'{path.parent}' cannot take {out.nbytes / 2**20:.0f} MiB of embeddings ({error.strerror}); "
            'make room, or set FSR_DATASETS to another folder.'
        ) from error
    return out
