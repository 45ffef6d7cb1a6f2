"""How a picture lies by its Exif: 1 as it is stored, 2 to 8 mirrored or turned; 5 and more exchange the sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

_TAG = 0x0112


def orientation_of(exif: bytes) -> int:
    """What Exif's bytes say, 1 where that is nothing."""
    tags = PILImage.Exif()
    try:
        tags.load(exif)
        found = tags.get(_TAG, 1)
    except Exception:  # damaged Exif says nothing, and keeps nobody from the pixels
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def turned(stored: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Stored pixels (H, W) or (H, W, C) as they are seen."""
    if orientation > 4:
        stored = stored.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(stored[::down, ::across])
