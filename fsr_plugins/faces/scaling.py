"""Images brought to a network's size, and points brought back to the original's pixels."""

from __future__ import annotations

import cv2
import numpy as np

from fsr_plugins.faces.protocol import Floats, Image, Size


def scale_to(image: Image, longest: int, enlarge: bool = False) -> Image:
    """The image with the longer side reduced to ``longest`` (means over the pixels' areas).

    A smaller image is left as it is, or with ``enlarge`` enlarged bilinearly.
    """
    height, width = image.shape[:2]
    ratio = longest / max(height, width)
    if ratio == 1 or (ratio > 1 and not enlarge):
        return image
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how)


def scale_back(points: Floats, of: Size, to: Size) -> Floats:
    """Points of a scaled image as points of the original.

    Args:
        points: float32 (..., 2) x and y, pixel centres being whole numbers in both.
        of: Height and width of the scaled image.
        to: Height and width of the original.
    """
    ratio = np.array([to[1] / of[1], to[0] / of[0]], np.float32)
    return (points + 0.5) * ratio - 0.5
