"""What finds faces, their points and their parts in photographs: three small protocols, whatever stands behind them.

Photographs differ in size, so images are uint8 HWC RGB arrays, a sequence of them or one array (N, H, W, 3); those of
one size go through a network together. Points are x, y in pixels of the image as given, whole numbers being pixel
centres, in the order image-left eye, image-right eye, nose, image-left mouth corner, image-right mouth corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
#: Height and width; a slice of a shape, which older NumPy types without its length.
Size = tuple[int, ...]
#: Images of any sizes, or (N, H, W, 3).
Images = Sequence[Image] | Image


@dataclass(frozen=True, eq=False)
class Detection:
    """A face that was found.

    Attributes:
        box: float32 (4,), x0, y0, x1, y1 in pixels; may reach beyond the image.
        score: The detector's own confidence, 0 to 1.
        points: float32 (5, 2), as good as the detector gives them.
    """

    box: Floats
    score: float
    points: Floats


@dataclass(frozen=True, eq=False)
class Landmarks:
    """A face's points.

    Attributes:
        points: float32 (5, 2).
        score: The engine's confidence that it has a face before it, 0 to 1.
        dense: float32 (K, 2), all points of the engine (468 of a face mesh), or None where it has five only.
    """

    points: Floats
    score: float
    dense: Floats | None = None


class Detector(Protocol):
    """Finds faces."""

    def detect(self, images: Images) -> list[list[Detection]]:
        """Of each image the faces found, by descending score; an empty list where there are none.

        Raises:
            ValueError: an image is not uint8 (H, W, 3).
        """


class Landmarker(Protocol):
    """Finds the points of a face whose place is known."""

    def points(self, images: Images, detections: Sequence[Detection | None]) -> list[Landmarks | None]:
        """The points of one face an image.

        Args:
            images: uint8 (H, W, 3) RGB each.
            detections: The face to look at in each image; None leaves the image out.

        Returns:
            One entry an image: None where the image was left out or the engine sees no face.

        Raises:
            ValueError: an image is not uint8 (H, W, 3), or not as many detections as images.
        """


class Parser(Protocol):
    """Marks the parts of a face."""

    def parse(self, images: Images) -> list[Image | None]:
        """Of each image, an aligned or cropped face, the parts of the face nearest to its centre.

        Returns:
            One map an image: uint8 (H, W) ids 0 to 18 (:data:`~fsr_plugins.faces.parts.PARTS`), or None where no face
            is found (a parser that looks for one first).

        Raises:
            ValueError: an image is not uint8 (H, W, 3).
        """


def check_images(images: Images) -> None:
    """Refuses what is no photograph.

    Raises:
        ValueError: an image is not uint8 (H, W, 3) or is empty; its place in the sequence is named.
    """
    for place, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f'Image {place} is {image.dtype} {image.shape}; uint8 (H, W, 3) RGB is needed.')


def nearest_centre(detections: Sequence[Detection], height: int, width: int) -> Detection | None:
    """The face whose box's centre is nearest to the image's centre, or None if there is none."""
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    middles = [(one.box[:2] + one.box[2:]) / 2 for one in detections]
    if not middles:
        return None
    return detections[int(np.argmin(np.linalg.norm(np.stack(middles) - centre, axis=1)))]
