"""The centre square of pictures of many sizes, reduced: what is done where nothing says where the face is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fsr_plugins.data.images import Image
from fsr_plugins.data.prepare.plan import CORRUPT, TOO_SMALL, Item, Made, Skip
from fsr_plugins.data.prepare.sources import Source
from fsr_plugins.data.prepare.window import Window
from fsr_plugins.data.records import Face
from fsr_plugins.errors import UserError


def centre_square(image: Image, size: int | None = None) -> Image | None:
    """The largest square in the middle of an image, reduced as MATLAB's ``imresize`` does (bicubic, antialiased).

    Args:
        image: uint8 (H, W, 3). Where sides differ by an odd number the square lies half a pixel to the top or left.
        size: side of the result; None: the square as it is.

    Returns:
        uint8 (size, size, 3), or None where the square is smaller than ``size``: nothing is enlarged.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    if size is not None and size > side:
        return None
    return Window((height - side) // 2, (width - side) // 2, side, size or side).image(image)


def centre_faces(source: Source, size: int | None) -> Callable[[Sequence[Item]], Iterable[Made]]:
    """``Plan.make`` of items that are images of a source: the centre square of each, of ``size``."""

    def made(item: Item) -> Made:
        try:
            image = source.image(item.name)
        except UserError as error:
            return [Skip(item.name, CORRUPT, str(error))]
        square = centre_square(image, size)
        if square is None:
            return [Skip(item.name, TOO_SMALL, f'{image.shape[1]}x{image.shape[0]}')]
        return [Face(item.key, square)]

    return lambda items: map(made, items)
