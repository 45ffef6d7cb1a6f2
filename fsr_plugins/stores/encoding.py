"""A face in the bytes that a store keeps, so that encoding can be many threads' work and writing one's."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fsr_plugins.stores.images import check_face_image, encode_png
from fsr_plugins.stores.records import FaceLike

#: How a store keeps pixels: uint8 as they are (HWC RGB, or HW for a parsing map), or a PNG of them.
Encoding = Literal['raw', 'png']


class EncodedFace(NamedTuple):
    """A face whose image and parsing map are encoded already; see :class:`fsr_plugins.stores.records.FaceLike`."""

    key: str
    height: int
    width: int
    image: bytes | memoryview
    identity: int | None = None
    landmarks: npt.NDArray[np.float32] | None = None
    parsing: bytes | memoryview | None = None


def encode_face(face: FaceLike, encoding: Encoding) -> EncodedFace:
    """Encodes image and parsing map.

    Raises:
        ValueError: an image is not uint8 (H, W, 3), or a parsing map not of its size.
    """
    check_face_image(face.image, face.key)
    shape = face.image.shape[:2]
    if face.parsing is not None and face.parsing.shape != shape:
        raise ValueError(f"The parsing map of '{face.key}' is {face.parsing.shape}, its image {shape}.")
    raw = encoding == 'raw'
    parsing = face.parsing
    return EncodedFace(
        key=face.key,
        height=shape[0],
        width=shape[1],
        image=face.image.tobytes() if raw else encode_png(face.image),
        identity=face.identity,
        landmarks=None if face.landmarks is None else np.asarray(face.landmarks, np.float32),
        parsing=None if parsing is None else parsing.tobytes() if raw else encode_png(parsing),
    )
