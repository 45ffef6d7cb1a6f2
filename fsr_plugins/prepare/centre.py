"""The centre square of pictures of many sizes, reduced: what is done where nothing says where the face is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fsr_plugins.prepare.plan import TOO_SMALL, Item, ItemResult, Skip, one_by_one
from fsr_plugins.prepare.source import Source
from fsr_plugins.prepare.window import Window
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.records import Face


def crop_centre(item: Item, image: Image, size: int | None = None) -> Face | Skip:
    """The largest square in the middle of an image, or why there is none: it is smaller than ``size``.

    Args:
        item: gives key and name.
        image: uint8 (H, W, 3). Where sides differ by an odd number the square lies half a pixel to the top or left.
        size: side to which the square is reduced as MATLAB's ``imresize`` does (bicubic, antialiased); None: left as
            it is. Nothing is enlarged.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    if size is not None and size > side:
        return Skip(item.name, TOO_SMALL, f'it is {width}x{height}, {size} pixels are needed')
    return Face(item.key, Window((height - side) // 2, (width - side) // 2, side, size or side).image(image))


def centre_crops(source: Source, size: int | None) -> Callable[[Sequence[Item]], Iterable[ItemResult]]:
    """``PreparationPlan.make`` of items that are images of a source: the centre square of each, of ``size``."""
    return one_by_one(lambda item: crop_centre(item, source.image(item.name), size))
