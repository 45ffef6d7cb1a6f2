"""Parsing maps drawn from a face mesh: skin, brows, eyes, nose, lips and the open mouth. A mesh has no hair or ears."""

from __future__ import annotations

import cv2
import numpy as np

from fsr_plugins.faces.blazeface import MediaPipeDetector
from fsr_plugins.faces.parts import PARTS
from fsr_plugins.faces.protocol import Floats, Image, Images, check_images, nearest_centre

_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152) + (
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109
)  # fmt: skip
_NOSE = (168, 193, 245, 188, 174, 217, 209, 49, 48, 64, 98, 97, 2) + (
    326, 327, 294, 278, 279, 429, 437, 399, 412, 465, 417
)  # fmt: skip
_UPPER_LIP_TOP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
_UPPER_LIP_BOTTOM = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_LOWER_LIP_TOP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_LOWER_LIP_BOTTOM = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)

#: Outlines as the mesh's points, in the order in which they are painted over each other. Left is the subject's.
OUTLINES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ('skin', _OVAL),
    ('nose', _NOSE),
    ('l_brow', (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)),
    ('r_brow', (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)),
    ('l_eye', (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)),
    ('r_eye', (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)),
    ('u_lip', _UPPER_LIP_TOP + _UPPER_LIP_BOTTOM[::-1]),
    ('l_lip', _LOWER_LIP_TOP + _LOWER_LIP_BOTTOM[::-1]),
    # The corners belong to both.
    ('mouth', _UPPER_LIP_BOTTOM + _LOWER_LIP_TOP[-2:0:-1]),
)

#: Maps are painted so many times as large and then read at the pixels' centres: OpenCV fills an outline with its
#: border, which would make lips thicker by a pixel.
_FINER = 5
#: Binary digits after the point of OpenCV's coordinates.
_SHIFT = 4


def draw(dense: Floats, size: tuple[int, int]) -> Image:
    """The parsing map of a face mesh.

    Args:
        dense: (468, 2), pixels.
        size: Height and width of the map.

    Returns:
        uint8 (*size), ids of :data:`~fsr_plugins.faces.parts.PARTS`, 0 outside the face.
    """
    canvas = np.zeros((size[0] * _FINER, size[1] * _FINER), np.uint8)
    fine = np.rint((dense * _FINER + _FINER // 2) * 2**_SHIFT).astype(np.int32)
    for name, outline in OUTLINES:
        cv2.fillPoly(canvas, [fine[list(outline)]], PARTS.index(name), shift=_SHIFT)
    return np.ascontiguousarray(canvas[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER])


class MeshParser:
    """Draws the map of the face nearest to the centre; see :class:`~fsr_plugins.faces.protocol.Parser`.

    What hides the face, such as hair, hands or glasses, is not seen: the parts lie where they are beneath it.
    """

    def __init__(self, detector: MediaPipeDetector) -> None:
        self.detector = detector

    def parse(self, images: Images) -> list[Image | None]:
        """See :meth:`Parser.parse`."""
        check_images(images)
        maps: list[Image | None] = []
        for image in images:
            size = image.shape[0], image.shape[1]
            meshes = dict(self.detector.see(image))
            face = nearest_centre(list(meshes), *size)
            dense = None if face is None else meshes[face].dense
            maps.append(None if dense is None else draw(dense, size))
        return maps
