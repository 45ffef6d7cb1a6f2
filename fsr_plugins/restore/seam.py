"""How much of a restored face is seen at each of its pixels: all inside the face, nothing at the border."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fsr_plugins.faces.protocol import Floats

#: Share of a crop's side over which it fades at its border.
_FADE = 0.15
#: Half the width and half the height of a face, and how far its middle lies below the eyes, in the greater of the two
#: distances from eye to eye and from the eyes to the mouth: from the hairline to the chin.
_WIDE, _HIGH, _BELOW = 1.25, 1.6, 0.35
#: Where the border of the ellipse begins and ends, as shares of its radius.
_INSIDE, _OUTSIDE = 0.9, 1.3


def face_mask(height: int, width: int, points: Floats) -> npt.NDArray[np.uint8]:
    """Weights of a crop's pixels, uint8 (height, width): 255 inside the face, falling smoothly to 0.

    The face is an ellipse through hairline, chin and ears, as eyes and mouth say; it is turned as they are. At the
    crop's own border the weights fall to 0 in any case.

    Args:
        points: (5, 2), the face's points in pixels of the crop. Where eyes and mouth lie in one point, the whole crop
            is the face.
    """
    ramps = [_smooth(np.minimum(np.arange(side), np.arange(side)[::-1]) / (_FADE * side)) for side in (height, width)]
    mask = np.minimum(ramps[0][:, None], ramps[1])
    left, right, _, mouth_left, mouth_right = np.asarray(points, np.float64)
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    unit = max(np.hypot(*(right - left)), np.hypot(*(mouth - eyes)))
    down = mouth - eyes + _quarter(right - left)
    length = np.hypot(*down)
    if length > 1e-3 * unit:
        down /= length
        middle = eyes + _BELOW * unit * down
        y, x = np.mgrid[:height, :width].astype(np.float64)
        along = (x - middle[0]) * down[0] + (y - middle[1]) * down[1]
        across = (y - middle[1]) * down[0] - (x - middle[0]) * down[1]
        radius = np.hypot(across / (_WIDE * unit), along / (_HIGH * unit))
        mask = np.minimum(mask, _smooth((_OUTSIDE - radius) / (_OUTSIDE - _INSIDE)))
    weights: npt.NDArray[np.uint8] = np.rint(255 * mask).astype(np.uint8)
    return weights


def _quarter(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The line between the eyes turned downwards."""
    return np.array([-vector[1], vector[0]])


def _smooth(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped: npt.NDArray[np.float64] = np.clip(share, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)
