"""The picture around the faces enlarged by a network: tile by tile, so that memory does not grow with the picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.faces.tiling import tile_starts
from fsr_plugins.restore import photograph
from fsr_plugins.restore.forward import Forward
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.opening import open_network

#: Side of an enlarged tile, and the least of a tile before; what a network holds for one is bounded by them.
_ENLARGED, _LEAST = 512, 64
#: Pixels that two neighbours share at least, and how many of these at a tile's border are not seen.
_OVERLAP, _HIDDEN = 24, 6


class Background:
    """Enlarges whole photographs; bicubically where there is no network.

    Args:
        network: it takes tiles of 64 to 512 pixels, whatever the size of the faces that it was trained with.
        option: by which it was given, for messages; empty: they have the network's name alone.
    """

    def __init__(self, network: FaceNetwork | None = None, option: str = '--background') -> None:
        self.network, self.option = network, option

    @classmethod
    def open(cls, checkpoint: Path | None, faces: FaceNetwork) -> Background:
        """By a checkpoint of this toolkit, on the device and in the precision of the network for the faces.

        Raises:
            UserError: see :func:`~fsr_plugins.restore.opening.open_network`.
        """
        if checkpoint is None:
            return cls()
        net = faces.net
        precision, engine = (net.precision, net.engine) if isinstance(net, Forward) else ('auto', 'auto')
        return cls(open_network(checkpoint, str(faces.device), precision, engine=engine))

    def enlarged(self, image: Image, times: int) -> Image:
        """A photograph, uint8 (H, W, 3), as uint8 (times H, times W, 3).

        Each tile is brought from the network's scale to ``times``, and fades into those left of it and above it.

        Raises:
            UserError: the network does not take tiles, or see :meth:`FaceNetwork.__call__`.
        """
        if self.network is None:
            return photograph.enlarged(image, times)
        side = max(_LEAST, _ENLARGED // self.network.scale)
        height, width = image.shape[:2]
        # A photograph smaller than a tile is mirrored at its borders.
        below, right = max(0, side - height), max(0, side - width)
        whole = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT) if below or right else image
        rows, columns = (tile_starts(length, side, _OVERLAP) for length in whole.shape[:2])
        result = np.empty((whole.shape[0] * times, whole.shape[1] * times, 3), np.uint8)
        for top, down in zip(rows, _fades(rows, side, times), strict=True):
            strip = np.empty((side * times, result.shape[1], 3), np.uint8)
            for left, across in zip(columns, _fades(columns, side, times), strict=True):
                tile = self._tile(np.ascontiguousarray(whole[top : top + side, left : left + side]), times)
                _lay_over(strip[:, left * times : (left + side) * times], tile, across[None, :, None])
            _lay_over(result[top * times : (top + side) * times], strip, down[:, None, None])
        return result if whole is image else np.ascontiguousarray(result[: height * times, : width * times])

    def _tile(self, tile: Image, times: int) -> Image:
        assert self.network is not None
        try:
            sr = self.network([tile])[0]
        except UserError as error:
            raise UserError(f'{self.option}: {error}' if self.option else str(error)) from error
        if times == self.network.scale:
            return sr
        size = (tile.shape[1] * times, tile.shape[0] * times)
        kernel = cv2.INTER_AREA if times < self.network.scale else cv2.INTER_CUBIC
        resized: Image = cv2.resize(sr, size, interpolation=kernel)
        return resized


def _fades(starts: list[int], side: int, times: int) -> list[npt.NDArray[np.float32]]:
    """Weights along each tile, (times side,), over the tile before it: 0, and 1 behind the middle of what they share.

    Args:
        starts: where the tiles begin.
    """
    place = (np.arange(side * times, dtype=np.float32) + 0.5) / times
    width = _OVERLAP - 2 * _HIDDEN
    fades: list[npt.NDArray[np.float32]] = [np.ones_like(place)]
    for before, start in pairwise(starts):
        begin = (before + side - start - width) / 2
        fades.append(np.clip((place - np.float32(begin)) / width, 0, 1).astype(np.float32))
    return fades


def _lay_over(under: Image, image: Image, weight: npt.NDArray[np.float32]) -> None:
    """Lays an image over another of its size, which is changed; the weight is broadcast."""
    if weight.min() == 1:
        under[...] = image
    else:
        under[...] = np.rint(under + weight * (image.astype(np.float32) - under)).astype(np.uint8)
