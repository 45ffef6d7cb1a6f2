"""Decoding and encoding single images, without ever changing their depth in silence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError

Image = npt.NDArray[np.uint8]

#: What a folder may hold; other files are left alone.
EXTENSIONS = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.pgm', '.ppm'})

# ANYDEPTH keeps 16 bits visible, so that they can be refused: without it OpenCV makes them 8 in silence.
_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
_LABELS = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH


def _checked(image: npt.NDArray[np.generic] | None, what: str) -> Image:
    if image is None:
        raise UserError(
            f"'{what}' cannot be decoded as an image: it is damaged or of another format; replace or remove it."
        )
    if image.dtype != np.uint8:
        raise UserError(f"'{what}' has {image.dtype} pixels; only 8 bits a channel are read: convert it first.")
    return image  # type: ignore[return-value]


def read_image(path: Path | str) -> Image:
    """The image file as uint8 HWC RGB; grey is repeated, alpha dropped.

    Raises:
        UserError: it does not decode, or has more than 8 bits a channel.
    """
    return _checked(cv2.imread(str(path), _COLOUR), str(path))


def read_labels(path: Path | str) -> Image:
    """A single-channel image file, such as a parsing map, as uint8 HW. Raises as :func:`read_image`."""
    return _checked(cv2.imread(str(path), _LABELS), str(path))


def decode_image(data: bytes | memoryview, what: str) -> Image:
    """Encoded bytes as uint8 HWC RGB; ``what`` names them in a UserError. Raises as :func:`read_image`."""
    buffer = np.frombuffer(data, np.uint8)
    return _checked(cv2.imdecode(buffer, _COLOUR) if buffer.size else None, what)


def decode_labels(data: bytes | memoryview, what: str) -> Image:
    """Encoded bytes as uint8 HW; ``what`` names them in a UserError. Raises as :func:`read_image`."""
    buffer = np.frombuffer(data, np.uint8)
    return _checked(cv2.imdecode(buffer, _LABELS) if buffer.size else None, what)


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
