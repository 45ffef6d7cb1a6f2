"""The square that a preparer cuts out of a face, reduced: the image and what belongs to it alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.stores.images import Image


@dataclass(frozen=True)
class Window:
    """The square of ``crop`` pixels from row ``top`` and column ``left`` (from 0), reduced to ``size``."""

    top: int
    left: int
    crop: int
    size: int

    def cut(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The square, not reduced, as a view."""
        return image[self.top : self.top + self.crop, self.left : self.left + self.crop]

    def image(self, image: Image) -> Image:
        """The square of an RGB image, reduced as MATLAB's ``imresize`` does (bicubic, antialiased)."""
        cut = np.ascontiguousarray(self.cut(image))
        if self.size == self.crop:
            return cut
        from fsr_plugins.degradations.bicubic import imresize_uint8

        return imresize_uint8(cut, (self.size, self.size))

    def labels(self, labels: Image) -> Image:
        """The square of a parsing map; where reduced, the label nearest to the new pixel's centre."""
        cut = np.ascontiguousarray(self.cut(labels))
        if self.size == self.crop:
            return cut
        return cv2.resize(cut, (self.size, self.size), interpolation=cv2.INTER_NEAREST_EXACT)

    def points(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Landmarks of the whole image in the square's pixels; pixel centres are whole numbers."""
        corner = np.array([self.left, self.top], np.float32)
        return ((points - corner + 0.5) * (self.size / self.crop) - 0.5).astype(np.float32)
