"""MediaPipe's face mesh (Kartynnik et al., 2019): 468 points of a face whose place is roughly known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fsr_plugins.faces.crops import Matrix, ffhq_square, upright, warp
from fsr_plugins.faces.protocol import Detection, Floats, Image, Images, Landmarks, check_images
from fsr_plugins.faces.published import FACE_MESH
from fsr_plugins.faces.tflite import Network, sigmoid

POINTS = 468

#: The mesh's points whose means are the five: corners of the image-left and of the image-right eye, tip of the nose,
#: corners of the mouth.
FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))

#: The square that the mesh looks at, measured on FFHQ's: its side, and how far its centre is lower. So it is, in the
#: mean over faces, MediaPipe's own, 1.5 times BlazeFace's box, but follows from points that every detector gives.
_SIDE, _LOWER = 0.90, 0.11


def five_of(dense: Floats) -> Floats:
    """The five points of a mesh: (468, 2) to (5, 2)."""
    return np.stack([dense[list(which)].mean(axis=0) for which in FIVE])


def view(points: Floats) -> Matrix:
    """The square to look at for a face whose eyes and mouth are known, as :func:`ffhq_square`; (5, 2) to (3, 2)."""
    origin, right, below = ffhq_square(points)
    x, y = (right - origin) * _SIDE, (below - origin) * _SIDE
    centre = (right + below) / 2 + (below - origin) * _LOWER
    return np.stack([centre - (x + y) / 2, centre + (x - y) / 2, centre - (x - y) / 2])


class FaceMesh:
    """See :class:`~fsr_plugins.faces.protocol.Landmarker`; ``dense`` has 468 points.

    Args:
        network: MediaPipe's ``face_landmark``.
        score: Below it there is no face; MediaPipe's value.
    """

    def __init__(self, network: Network, score: float = 0.5) -> None:
        self.network = network
        self.score = score

    @classmethod
    def open(cls, folder: Path | None = None) -> FaceMesh:
        """From the published file; see :meth:`~fsr_plugins.faces.tflite.Network.open`."""
        return cls(Network.open(FACE_MESH, folder))

    def points(self, images: Images, detections: Sequence[Detection | None]) -> list[Landmarks | None]:
        """See :meth:`Landmarker.points`."""
        check_images(images)
        if len(images) != len(detections):
            raise ValueError(f'There are {len(images)} images, but {len(detections)} detections.')
        return [
            None if one is None else self.look(image, one.points) for image, one in zip(images, detections, strict=True)
        ]

    def look(self, image: Image, points: Floats) -> Landmarks | None:
        """The points of the face whose eyes and mouth are at ``points`` (5, 2), or None if there is none."""
        side = self.network.side
        square = view(points)
        seen = warp(image, upright(square, side), (side, side))
        raw, flag = self.network(np.divide(seen, 255, dtype=np.float32))
        score = float(sigmoid(flag.ravel()[:1])[0])
        if score <= self.score:
            return None
        # x and y as shares of the square; the depth is left out.
        shares = raw.reshape(-1, 3)[:POINTS, :2] / side
        origin, right, below = square
        dense = (origin + shares @ np.stack([right - origin, below - origin])).astype(np.float32)
        return Landmarks(five_of(dense), score, dense)
