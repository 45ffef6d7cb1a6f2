"""Cutting faces out of photographs: turned, scaled and shifted into a template, or as FFHQ's were.

Here an image is uint8 HWC RGB of any size; :mod:`~fsr_plugins.faces.alignment` does the same for batches of tensors.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fsr_plugins.faces.alignment import similarity
from fsr_plugins.faces.protocol import Floats, Image, check_images

#: Where the points lie in FFHQ's faces reduced to 512×512; facexlib and the restoration networks that use it align so.
TEMPLATE_512x512 = torch.tensor(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)

Border = Literal['black', 'reflect']
#: Between pixels: of two by two, or of four by four.
Kernel = Literal['linear', 'cubic']
_KERNELS = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC}
_BORDERS = {'black': cv2.BORDER_CONSTANT, 'reflect': cv2.BORDER_REFLECT_101}

Matrix = npt.NDArray[np.float64]
#: Pixels as levels, or as floats of any range.
Pixels = TypeVar('Pixels', Image, Floats)


def ffhq_template(size: int) -> Tensor:
    """:data:`TEMPLATE_512x512` for faces of another size: (5, 2) float32."""
    # Half a pixel: the middle of an image lies between pixel centres at whole numbers.
    return (TEMPLATE_512x512 - 255.5) * (size / 512) + (size - 1) / 2


def warp(
    image: Pixels, matrix: Matrix, size: tuple[int, int], border: Border = 'black', kernel: Kernel = 'linear'
) -> Pixels:
    """Resamples an image by a similarity, antialiased where it is reduced.

    A reduction by up to m (a whole number) is sampled on a grid m times as fine as the result's, and the mean
    of each m×m block is its pixel: no pixel of the image is passed over, whatever the turn.

    Args:
        image: uint8 or float32 (H, W, 3).
        matrix: (2, 3), from a point (x, y, 1) of the image to its place in the result.
        size: Height and width of the result.
        border: What lies beyond the image: ``black``, or the image mirrored at its edge pixels (``reflect``).
        kernel: What samples it: ``linear`` smooths by up to half a pixel, ``cubic`` keeps more of what the image has.

    Returns:
        as ``image``, (*size, 3).
    """
    height, width = size
    reduction = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    # A little less, so that a reduction by exactly m does not become m + 1 by rounding.
    m = max(1, int(np.ceil(reduction - 1e-6)))
    fine = matrix * m
    fine[:, 2] += (m - 1) / 2
    sampled: Pixels = cv2.warpAffine(
        image, fine, (width * m, height * m), flags=_KERNELS[kernel], borderMode=_BORDERS[border], borderValue=(0, 0, 0)
    )
    if m > 1:
        sampled = cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA)
    return sampled


def align_to(image: Image, points: Floats, template: Tensor, size: tuple[int, int], border: Border = 'black') -> Image:
    """One face in a template's position, by the similarity that brings its points nearest (least squares).

    Args:
        image: uint8 (H, W, 3) RGB.
        points: (5, 2), the face's points in the image.
        template: (5, 2), where they shall lie: :func:`ffhq_template`, ``template_for((112, 96))``, …
        size: Height and width of the result.
        border: See :func:`warp`.

    Returns:
        uint8 (*size, 3), antialiased (:func:`warp`).

    Raises:
        ValueError: the image is not uint8 (H, W, 3), or the points are unknown or lie in one point.
    """
    check_images([image])
    matrix = similarity(torch.from_numpy(np.asarray(points, np.float64))[None], template.double())[0]
    return warp(image, matrix.numpy(), size, border)


def ffhq_square(points: Floats) -> Matrix:
    """FFHQ's oriented square round a face: float64 (3, 2), its top left, top right and bottom left corner.

    Karras et al. (CVPR 2019), whose script finds it by the eyes' and the mouth's middle: upright along the mean of the
    line between the eyes and the normal to that from eyes to mouth; half as wide as the greater of 2 distances between
    the eyes and 1.8 from eyes to mouth; its centre below the eyes by a tenth of the latter.

    Args:
        points: (5, 2); the nose is not used.

    Raises:
        ValueError: the points are not finite, or eyes and mouth lie in one point.
    """
    left, right, _, mouth_left, mouth_right = np.asarray(points, np.float64)
    across, down = right - left, (mouth_left + mouth_right) / 2 - (left + right) / 2
    # A quarter turn of (x, y) is (-y, x); `down` turned back is the direction across the face.
    x = across + np.array([down[1], -down[0]])
    length = np.hypot(*x)
    if not np.isfinite(length) or length < 1e-3:
        raise ValueError('The points of the face are unknown, or eyes and mouth lie in one point.')
    x *= max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8) / length
    y = np.array([-x[1], x[0]])
    centre = (left + right) / 2 + down * 0.1
    return np.stack([centre - x - y, centre + x - y, centre - x + y])


def upright(square: Matrix, size: int) -> Matrix:
    """The similarity that brings a square's corners, as of :func:`ffhq_square`, to those of a result: (2, 3)."""
    origin, right, below = square
    turn = np.linalg.inv(np.column_stack([right - origin, below - origin]) / size)
    # The result's corner lies half a pixel beyond the centre of its first pixel.
    return np.column_stack([turn, -turn @ origin - 0.5])


def align_ffhq(image: Image, points: Floats, size: int = 1024, border: Border = 'reflect') -> Image:
    """One face cut out as FFHQ's are: :func:`ffhq_square`, turned upright.

    Where the square reaches beyond the image, FFHQ's script mirrors the image and blurs what it has mirrored; here it
    is mirrored only. It reduces by Lanczos' filter, here it is the mean (:func:`warp`).

    Args:
        image: uint8 (H, W, 3) RGB.
        points: (5, 2), the face's points in the image.
        size: Side of the result.
        border: See :func:`warp`.

    Returns:
        uint8 (size, size, 3).

    Raises:
        ValueError: see :func:`ffhq_square`; the image is not uint8 (H, W, 3).
    """
    check_images([image])
    return warp(image, upright(ffhq_square(points), size), (size, size), border)
