"""Images as stores have them: which files, how they are written. They are read by :mod:`fsr_plugins.images`."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.images import Image, decode_image, decode_labels, read_image, read_labels

__all__ = [
    'EXTENSIONS',
    'OTHER_EXTENSIONS',
    'Image',
    'check_face_image',
    'decode_image',
    'decode_labels',
    'encode_png',
    'read_image',
    'read_labels',
]

#: What a folder may hold; other files are left alone.
EXTENSIONS = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.pgm', '.ppm'})
#: Also pictures, but not read from folders: a message says that they are left out.
OTHER_EXTENSIONS = frozenset({'.gif', '.heic', '.heif', '.avif', '.jp2', '.jfif', '.jxl', '.tga', '.psd', '.svg'})


def encode_png(image: Image) -> bytes:
    """A PNG of uint8 HWC RGB or HW labels, with OpenCV's default settings: quick to write and to decode."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    encoded: npt.NDArray[np.uint8] = cv2.imencode('.png', stored)[1]
    return encoded.tobytes()


def check_face_image(image: Image, key: str) -> None:
    """Refuses what a store cannot hold.

    Raises:
        ValueError: not uint8 (H, W, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"The image '{key}' is {image.dtype} {image.shape}; a store holds uint8 (H, W, 3) RGB.")
