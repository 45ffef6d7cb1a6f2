"""The kinds in which a program holds pictures: as uint8 RGB and alpha, and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage
from PIL import ImageOps
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import look_at, read_bytes, shown
from fsr_plugins.restore.pictures import decode

#: Of Pillow's modes those that become another one, with and without transparency.
_TO_RGB = {'1': 'L', 'P': 'RGB', 'CMYK': 'RGB', 'YCbCr': 'RGB', 'LAB': 'RGB', 'HSV': 'RGB', 'RGBX': 'RGB'}
_WITH_ALPHA = {'PA': 'RGBA', 'La': 'LA', 'RGBa': 'RGBA'}


class Opened(NamedTuple):
    """A picture, and the way back.

    Attributes:
        rgb: uint8 (H, W, 3); grey is repeated.
        alpha: uint8 (H, W), or None.
        back: from a result's colours and alpha to a picture of the kind that was given.
    """

    rgb: Image
    alpha: Image | None
    back: Callable[[Image, Image | None], Any]


def opened(picture: object, what: str) -> Opened:
    """A picture of any kind that is taken.

    Args:
        what: names it in a UserError.

    Raises:
        UserError: it is of no such kind, has floats outside [0, 1], or its file cannot be read.
    """
    if isinstance(picture, (str, Path)):
        if os.path.isdir(picture):
            raise UserError(f"'{shown(picture)}' is a folder: give its images, one by one or as a list.")
        data = read_bytes(picture)
        rgb, extras = decode(data, shown(picture), look_at(data, shown(picture)).alpha)
        return Opened(rgb, extras.alpha, partial(_to_pillow, profile=extras.profile))
    if isinstance(picture, PILImage.Image):
        return _of_pillow(picture, what)
    if isinstance(picture, Tensor):
        return _of_tensor(picture, what)
    if isinstance(picture, np.ndarray):
        return _of_array(picture, what)
    raise UserError(
        f"'{what}' is {type(picture).__name__}: an image of Pillow, an array, a tensor or a path is needed."
    )


def _of_pillow(picture: PILImage.Image, what: str) -> Opened:
    mode, known = picture.mode, {**_TO_RGB, **_WITH_ALPHA}
    wanted = known.get(mode, mode)
    if wanted not in ('L', 'LA', 'RGB', 'RGBA'):
        raise UserError(f"'{what}' has Pillow's mode '{mode}': only 8 bits a channel are taken; convert it first.")
    if 'transparency' in picture.info:
        wanted = {'L': 'LA', 'RGB': 'RGBA'}.get(wanted, wanted)
    try:
        image = ImageOps.exif_transpose(picture).convert(wanted)
    except (OSError, ValueError, SyntaxError) as error:  # a file is read only now, and Pillow's readers raise all three
        raise UserError(f"'{what}' cannot be decoded ({error}): it is damaged; replace or remove it.") from error
    rgb, alpha = _split(np.array(image, np.uint8))
    is_grey = image.mode in ('L', 'LA')
    profile = picture.info.get('icc_profile')
    # That of another mode is none of the result.
    fits = isinstance(profile, bytes) and profile[16:20] == (b'GRAY' if is_grey else b'RGB ')
    return Opened(rgb, alpha, partial(_to_pillow, is_grey=is_grey, profile=profile if fits else None))


def _to_pillow(
    larger: Image, alpha: Image | None, is_grey: bool = False, profile: bytes | None = None
) -> PILImage.Image:
    levels = _joined(larger, alpha, is_grey)
    result = PILImage.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    if profile is not None:
        result.info['icc_profile'] = profile
    return result


def _of_array(picture: npt.NDArray[np.generic], what: str) -> Opened:
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and not 1 <= picture.shape[2] <= 4) or picture.size == 0:
        raise UserError(f"'{what}' is an array {picture.shape}: (H, W), or (H, W, C) with 1 to 4 channels is needed.")
    levels = _levels(picture, what)
    rgb, alpha = _split(levels)
    is_flat, is_grey = picture.ndim == 2, picture.ndim == 2 or picture.shape[2] < 3

    def back(larger: Image, clear: Image | None) -> npt.NDArray[np.generic]:
        result = _joined(larger, clear, is_grey)
        result = result[..., 0] if is_flat else result
        return result if picture.dtype == np.uint8 else (result / np.float32(255)).astype(picture.dtype)

    return Opened(rgb, alpha, back)


def _of_tensor(picture: Tensor, what: str) -> Opened:
    if picture.ndim != 3 or not 1 <= picture.shape[0] <= 4 or picture.numel() == 0:
        raise UserError(
            f"'{what}' is a tensor {tuple(picture.shape)}: (C, H, W) with 1 to 4 channels is needed; of a batch give "
            'its pictures as a list.'
        )
    plain = picture.detach().cpu()
    inside = _of_array((plain.float() if plain.is_floating_point() else plain).permute(1, 2, 0).numpy(), what)

    def back(larger: Image, clear: Image | None) -> Tensor:
        result = torch.from_numpy(np.ascontiguousarray(inside.back(larger, clear))).permute(2, 0, 1)
        return result.contiguous().to(picture.device, picture.dtype)

    return Opened(inside.rgb, inside.alpha, back)


def _levels(picture: npt.NDArray[np.generic], what: str) -> Image:
    """An array as uint8."""
    if picture.dtype == np.uint8:
        return np.asanyarray(picture, np.uint8)
    if not np.issubdtype(picture.dtype, np.floating):
        raise UserError(f"'{what}' is of {picture.dtype}: uint8, or floats in [0, 1], are needed.")
    low, high = float(picture.min()), float(picture.max())
    if not (low >= 0 and high <= 1):  # which NaN is not either
        raise UserError(f"'{what}' has floats from {low:g} to {high:g}: they must lie in [0, 1].")
    levels: Image = np.rint(picture.astype(np.float32) * 255).astype(np.uint8)
    return levels


def _split(levels: Image) -> tuple[Image, Image | None]:
    """Colours (H, W, 3) and alpha of (H, W) or (H, W, C)."""
    stacked = levels if levels.ndim == 3 else levels[..., None]
    channels = stacked.shape[2]
    colours = stacked[..., : channels - (channels in (2, 4))]
    rgb = np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    return rgb, np.array(stacked[..., -1]) if channels in (2, 4) else None


def _joined(larger: Image, alpha: Image | None, is_grey: bool) -> Image:
    """(H, W, C) of colours, or their luma, and alpha."""
    colours = cv2.cvtColor(larger, cv2.COLOR_RGB2GRAY)[..., None] if is_grey else larger
    return colours if alpha is None else np.dstack([colours, alpha])
