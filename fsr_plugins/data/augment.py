"""Where a training sample is cut and how it is turned: pure functions of its seed, for all views of a face alike."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.data.seeding import splitmix64

#: CelebAMask-HQ ids after mirroring: brows 2 and 3, eyes 4 and 5, ears 7 and 8 are the subject's left and right.
MIRRORED_IDS: npt.NDArray[np.uint8] = np.arange(256, dtype=np.uint8)
MIRRORED_IDS[[2, 3, 4, 5, 7, 8]] = [3, 2, 5, 4, 8, 7]
MIRRORED_IDS.setflags(write=False)

#: The order of five landmarks after mirroring: eyes and mouth corners change places.
MIRRORED_POINTS = [1, 0, 2, 4, 3]

_HALVES = 1 << 31


class Flip(NamedTuple):
    """One of the eight symmetries of a square: mirror left-right, mirror up-down, then transpose."""

    hflip: bool = False
    vflip: bool = False
    transpose: bool = False

    @property
    def mirrors(self) -> bool:
        """Whether left and right of the face change places (an odd number of reflections)."""
        return self.hflip ^ self.vflip ^ self.transpose

    def write(self, image: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
        """Writes the turned image, HWC or HW, into ``out``, which is contiguous and of the turned image's shape."""
        if self.hflip or self.vflip:
            # OpenCV's codes: 1 left-right, 0 up-down, -1 both; numpy's reversed views copy ten times slower.
            code = int(self.hflip) if self.hflip != self.vflip else -1
            image = cv2.flip(image, code, dst=None if self.transpose else out)
        if self.transpose:
            cv2.transpose(image, dst=out)
        elif image is not out:
            out[...] = image

    def write_labels(self, labels: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
        """Writes the turned parsing map, HW, with left and right ids exchanged where the face is mirrored."""
        self.write(MIRRORED_IDS[labels] if self.mirrors else labels, out)

    def points(self, points: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
        """The turned landmarks (5, 2) of an image of the given size before turning, renamed where it is mirrored."""
        x, y = points[:, 0], points[:, 1]
        x = width - 1 - x if self.hflip else x
        y = height - 1 - y if self.vflip else y
        turned = np.stack([y, x] if self.transpose else [x, y], axis=1)
        return turned[MIRRORED_POINTS] if self.mirrors else turned


def draw_flip(seed: int, use_hflip: bool, use_rot: bool) -> Flip:
    """Each permitted reflection with probability 1/2, as BasicSR's ``augment``."""
    if not (use_hflip or use_rot):
        return Flip()
    bits = splitmix64(seed ^ 0x7475726E)
    return Flip(use_hflip and bool(bits & 1), use_rot and bool(bits & 2), use_rot and bool(bits & 4))


def draw_corner(seed: int, image: tuple[int, int], size: tuple[int, int], step: int) -> tuple[int, int]:
    """Top and left of a random part of an image, both multiples of ``step``; uniform over those.

    Args:
        image: its height and width.
        size: height and width of the part, no larger.
    """
    (height, width), (rows, columns) = image, size
    bits = splitmix64(seed ^ 0x63726F70)
    rows, columns = (height - rows) // step + 1, (width - columns) // step + 1
    # High bits times the number of places: no modulo bias worth the name for any image size.
    return (bits >> 33) * rows // _HALVES * step, (bits & (_HALVES - 1)) * columns // _HALVES * step


def draw_below(seed: int, count: int) -> int:
    """A whole number in [0, count), uniform up to ``count`` / 2^31."""
    return (splitmix64(seed ^ 0x7069636B) >> 33) * count // _HALVES
