"""How much restored faces change from frame to frame, beside the same faces enlarged bicubically."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fsr_plugins.faces.crops import Matrix, warp
from fsr_plugins.faces.protocol import Image, Size
from fsr_plugins.restore import photograph
from fsr_plugins.values import Record

#: Share of a face at each border that is not compared: there it fades into the picture.
_BORDER = 0.15
#: Pixels of a frame around a face that are enlarged with it.
_MARGIN = 4
#: By a face over time, its frame and how it looks there, restored and enlarged.
_Seen = dict[int, tuple[int, Image, Image]]


class Flicker:
    """Sums the differences of consecutive frames; one for each stretch of a clip, whose sums are added.

    ``sums`` are float64 (3,): of the mean differences of restored faces, of the enlarged ones, and their number.
    """

    def __init__(self) -> None:
        self.sums: npt.NDArray[np.float64] = np.zeros(3)
        self._last: _Seen = {}

    def add(self, frame: int, faces: Mapping[int, tuple[Image, Image]]) -> None:
        """Takes the faces of a frame.

        Args:
            frame: its number.
            faces: by the face over time, restored and enlarged bicubically, uint8 (h, w, 3), both brought to one
                position by the same points.
        """
        now: _Seen = {key: (frame, *pair) for key, pair in faces.items()}
        for key, (_, restored, plain) in now.items():
            before = self._last.get(key)
            if before is not None and before[0] == frame - 1 and before[1].shape == restored.shape:
                self.sums += (_apart(before[1], restored), _apart(before[2], plain), 1)
        self._last = now


def figures(sums: npt.NDArray[np.float64]) -> Record | None:
    """The flicker of a clip as plain values.

    Returns:
        ``{"restored", "bicubic", "ratio", "pairs"}``: mean differences in levels of 255, and their ratio; None where no
        face was restored in two frames that follow each other, or nothing moved at all.
    """
    restored, plain, pairs = sums.tolist()
    if not pairs or not plain:
        return None
    return {
        'restored': round(restored / pairs, 3),
        'bicubic': round(plain / pairs, 3),
        'ratio': round(restored / plain, 3),
        'pairs': int(pairs),
    }


def enlarged_face(image: Image, matrix: Matrix, size: Size, times: int) -> Image:
    """A face of a frame as it is in the frame enlarged bicubically; only what is around it is enlarged.

    Args:
        image: uint8 (H, W, 3), the frame.
        matrix: (3, 3), from the enlarged frame's pixels to the face's, as of :func:`photograph.into_sr`.
        size: height and width of the face.
        times: how many times the frame is enlarged.
    """
    height, width = size
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], np.float64)
    places = ((np.linalg.inv(matrix) @ corners.T)[:2].T + 0.5) / times
    limits = np.array(image.shape[1::-1])
    left, top = np.clip(np.floor(places.min(axis=0)).astype(int) - _MARGIN, 0, limits - 1).tolist()
    right, bottom = np.clip(np.ceil(places.max(axis=0)).astype(int) + _MARGIN, (left + 1, top + 1), limits).tolist()
    around = photograph.enlarged(np.ascontiguousarray(image[top:bottom, left:right]), times)
    moved = matrix @ np.array([[1, 0, left * times], [0, 1, top * times], [0, 0, 1.0]])
    return warp(around, moved[:2], (height, width), 'reflect')


def _apart(one: Image, other: Image) -> float:
    height, width = one.shape[:2]
    down, across = round(_BORDER * height), round(_BORDER * width)
    inner = np.s_[down : height - down, across : width - across]
    return float(np.abs(one[inner].astype(np.float32) - other[inner]).mean())
