"""Images beside those that samples are numbered by, paired with none of them, in an endless shuffled order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fsr_plugins.data.augment import Flip, draw_corner, draw_flip
from fsr_plugins.data.image_dataset import Sample, write
from fsr_plugins.data.seeding import mix, permutation
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.store import Store

#: Whether images may be mirrored, and whether they may be turned by quarters and mirrored up-down.
Flips = tuple[bool, bool]

#: Keeps the draws for unpaired images apart from those for the dataset's own.
_STREAM = 1


class UnpairedSource:
    """Images that are paired with nothing: sample ``i`` takes number ``i`` of their endless shuffled sequence.

    They are shuffled anew whenever they have been used up, and go on where they are while the dataset begins its next
    epoch. Crop and flip are drawn independently of the dataset's own. All are pure functions of (seed, number).

    Args:
        store: Where the images are.
        positions: int (m,), those in use, by their place in the store.
        seed: Of the order.
        use_hflip: Mirror half of the images.
        use_rot: Turn by quarters and mirror up-down.
    """

    def __init__(
        self, store: Store, positions: npt.NDArray[np.int64], seed: int, use_hflip: bool, use_rot: bool = False
    ) -> None:
        self.store = store
        self.positions = positions
        self.keys = [store.keys[position] for position in positions.tolist()]
        self._seed = mix(seed, _STREAM)
        self._flips = use_hflip, use_rot

    def key(self, number: int) -> str:
        """The key of the image that sample ``number`` takes."""
        epoch, place = divmod(number, len(self.keys))
        return self.keys[permutation(self._seed, epoch, len(self.keys))[place]]

    def fill(self, samples: Sequence[Sample], out: npt.NDArray[np.uint8], stack: ExitStack, crops: bool) -> list[str]:
        """Writes the samples' images into ``out``, uint8 NHWC, and returns their keys.

        Args:
            stack: Closes what is opened for it.
            crops: Whether a random part of ``out``'s size is cut from images that are larger.

        Raises:
            UserError: an image does not decode, or is not of the batch's size.
        """
        read = stack.enter_context(self.store.reader())
        keys = [self.key(sample.number) for sample in samples]
        for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
            write_apart(read(key), mix(sample.seed, _STREAM), self._flips, crops, out[row], self.store, key)
        return keys


class Placement(NamedTuple):
    """How an image came into a batch: cut at a corner to a size, in pixels, then turned."""

    top: int
    left: int
    height: int
    width: int
    flip: Flip

    def points(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The image's landmarks (5, 2) in the batch."""
        return self.flip.points(points - np.array([self.left, self.top], np.float32), self.height, self.width)


def write_apart(
    image: Image, seed: int, flips: Flips, crops: bool, out: npt.NDArray[np.uint8], store: Store, key: str
) -> Placement:
    """Writes an image into its place in a batch, cut and turned by draws of its own, whatever its sample's are.

    Args:
        image: uint8 HWC.
        seed: Of the draws.
        flips: Whether it may be mirrored, and whether it may be turned by quarters and mirrored up-down.
        crops: Whether a random part of ``out``'s size is cut from images that are as large.
        out: Its place, uint8 HWC.

    Returns:
        What was drawn.

    Raises:
        UserError: it is not of the batch's size.
    """
    top = left = 0
    (height, width), (rows, columns) = image.shape[:2], out.shape[:2]
    if crops and height >= rows and width >= columns:
        top, left = draw_corner(seed, (height, width), (rows, columns), 1)
        image = image[top : top + rows, left : left + columns]
    flip = draw_flip(seed, *flips)
    write(flip, image, out, store, key)
    return Placement(top, left, image.shape[0], image.shape[1], flip)
