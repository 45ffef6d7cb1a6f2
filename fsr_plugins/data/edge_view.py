"""The view ``canny``: edge maps of HR faces at several scales, found once a run where the image stays the same."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.data.augment import Flip
from fsr_plugins.data.edge_options import CannyOptions
from fsr_plugins.data.image_dataset import Arrays, Slot
from fsr_plugins.edges import canny_image
from fsr_plugins.stores.images import Image


class EdgeView:
    """Canny's edges of the image reduced ``s`` times by area means: ``canny_<s>``, uint8 (H / s, W / s), 0 or 255.

    They are found in the image as it is stored or cut, and turned with it. Maps of whole images are kept as packed
    bits, H·W·(Σ 1/s²) / 8 bytes an image: 2.7 KB for a face of 128×128 at the scales 1, 2 and 4, so 27 MB for 10,000
    faces in each process. Safe to share between threads: what one has computed, all use; should two meet at the same
    new image, both compute the same.

    Args:
        options: Thresholds and scales.
    """

    def __init__(self, options: CannyOptions) -> None:
        self.scales = options.scales
        self._thresholds = options.thresholds
        self._kept: dict[int, bytes] = {}

    def slots(self, height: int, width: int) -> dict[str, Slot]:
        """The arrays of a sample whose HR is of this size."""
        return {f'canny_{scale}': Slot((height // scale, width // scale), np.uint8) for scale in self.scales}

    def fill(self, image: Image, place: int | None, flip: Flip, row: int, out: Arrays) -> None:
        """Writes the turned maps of an image into row ``row`` of the batch.

        Args:
            image: HR before turning.
            place: The number of the image in its dataset if it is whole, so that its maps may be kept; else None.
        """
        packed = None if place is None else self._kept.get(place)
        if packed is None:
            maps = [self._find(image, scale) for scale in self.scales]
            if place is not None:
                self._kept[place] = np.packbits(np.concatenate([edges.ravel() for edges in maps])).tobytes()
        else:
            shapes = [slot.shape for slot in self.slots(image.shape[0], image.shape[1]).values()]
            pixels = np.unpackbits(np.frombuffer(packed, np.uint8))
            pixels *= 255
            ends = np.cumsum([height * width for height, width in shapes])
            # The last part is what fills up the last byte.
            maps = [part.reshape(shape) for part, shape in zip(np.split(pixels, ends)[:-1], shapes, strict=True)]
        for scale, edges in zip(self.scales, maps, strict=True):
            flip.write(edges, out[f'canny_{scale}'][row])

    def _find(self, image: Image, scale: int) -> npt.NDArray[np.uint8]:
        if scale > 1:
            size = (image.shape[1] // scale, image.shape[0] // scale)
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        if isinstance(self._thresholds, str):
            return canny_image(image, adaptive=self._thresholds)
        low, high = self._thresholds
        return canny_image(image, low, high)
