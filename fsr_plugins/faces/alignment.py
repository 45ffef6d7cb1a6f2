"""Turning, scaling and shifting faces so that their landmarks lie where a recogniser expects them.

Points are x, y in pixels, whole numbers being pixel centres, in the order image-left eye, image-right eye, nose,
image-left mouth corner, image-right mouth corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

#: Where the points lie in the faces of 112×96 (height × width) that SphereFace and its successors are trained on.
TEMPLATE_112x96 = torch.tensor(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)
#: The same in the squares of 112 that ArcFace is trained on: eight columns more at either side.
TEMPLATE_112x112 = TEMPLATE_112x96 + torch.tensor([8.0, 0.0])

#: Root mean square distance of landmarks from their centre, in pixels, below which they are one point.
MIN_SPREAD = 1e-3
#: Correlation of landmarks with the template below which no turn fits better than another.
MIN_CORRELATION = 1e-3


def template_for(size: tuple[int, int]) -> Tensor:
    """The template for faces of another size: the 112×96 face as large as it fits, in the middle, not stretched.

    For 112×112 it is :data:`TEMPLATE_112x112`.

    Args:
        size: height and width in pixels.

    Returns:
        (5, 2) float32.
    """
    height, width = size
    scale = min(height / 112, width / 96)
    # Half a pixel: the middle of an image lies between pixel centres at whole numbers, 47.5 of 96.
    return (TEMPLATE_112x96 - TEMPLATE_112x96.new_tensor([47.5, 55.5])) * scale + TEMPLATE_112x96.new_tensor(
        [(width - 1) / 2, (height - 1) / 2]
    )


def _moments(landmarks: Tensor, template: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The centred template, and of each face, centred too, Σ conj(p) t as (N, 2) and Σ |p|² as (N,).

    A point (x, y) is the complex number x + iy; the two columns are real and imaginary part.
    """
    points, target = landmarks - landmarks.mean(dim=1, keepdim=True), template - template.mean(dim=0)
    x, y = points.unbind(dim=2)
    u, v = target.unbind(dim=1)
    product = torch.stack([(x * u + y * v).sum(dim=1), (x * v - y * u).sum(dim=1)], dim=1)
    return target, product, points.square().sum(dim=(1, 2))


def alignable(landmarks: Tensor, template: Tensor = TEMPLATE_112x96) -> Tensor:
    """Which faces can be aligned: bool (N,).

    Not those with points that are not finite (unknown), that are one point, or that no turn brings nearer to the
    template (uncorrelated with it).

    Args:
        landmarks: (N, 5, 2).
        template: (5, 2).
    """
    target, product, power = _moments(landmarks, template.to(landmarks))
    spread = (power / landmarks.shape[1]).sqrt()
    # Comparisons with NaN are false; infinity becomes NaN where the mean is subtracted.
    return (spread > MIN_SPREAD) & (product.norm(dim=1) > MIN_CORRELATION * (power * target.square().sum()).sqrt())


def similarity(landmarks: Tensor, template: Tensor) -> Tensor:
    """The turn, scaling and shift that bring each face's landmarks nearest to the template, in least squares.

    Umeyama (1991), Eq. 40 to 42, without reflection. In two dimensions his singular value decomposition has a closed
    form: with points as complex numbers, the map is z → a z + b, ``a = Σ conj(p) t / Σ |p|²`` of the centred points.

    Args:
        landmarks: (N, 5, 2) float32 or float64; any other number of points does too.
        template: (5, 2), where they shall lie.

    Returns:
        (N, 2, 3) of the landmarks' type: a point (x, y, 1) of the image to its place. Differentiable.

    Raises:
        ValueError: wrong shapes, or a face that is not :func:`alignable`; the message gives its place in the batch.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != template.shape or template.shape[1:] != (2,):
        raise ValueError(
            f'Landmarks (N, 5, 2) and a template (5, 2) are needed; these are {tuple(landmarks.shape)} and '
            f'{tuple(template.shape)}.'
        )
    wrong = (~alignable(landmarks, template)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(f'The landmarks of face {wrong[0]} of the batch are unknown or lie in one point.')
    return _nearest(landmarks, template.to(landmarks))


def _nearest(landmarks: Tensor, template: Tensor) -> Tensor:
    """:func:`similarity` of faces that are known to be alignable: nothing is asked of the device."""
    _, product, power = _moments(landmarks, template)
    a, b = (product / power[:, None]).unbind(dim=1)
    turn = torch.stack([a, -b, b, a], dim=1).view(-1, 2, 2)
    shift = template.mean(dim=0) - torch.einsum('nij,nj->ni', turn, landmarks.mean(dim=1))
    return torch.cat([turn, shift[:, :, None]], dim=2)


def aligned_for(
    images: Tensor, landmarks: Tensor, size: tuple[int, int], points: Sequence[Sequence[float]] | None
) -> tuple[Tensor, Tensor]:
    """Faces as a recogniser expects them, and which of them are so. Differentiable in the images.

    Args:
        images: (N, C, H, W) float.
        landmarks: (N, 5, 2) in their pixels.
        size: height and width of the recogniser's input.
        points: where landmarks lie in it, (5, 2); None: as :func:`template_for` that size.

    Returns:
        (N, C, *size), and bool (N,): see :func:`alignable`. A face that cannot be aligned is cut out by the points.
    """
    template = (template_for(size) if points is None else torch.tensor(points)).to(images)
    landmarks = landmarks.to(images)
    good = alignable(landmarks, template)
    return _warped(images, _nearest(landmarks.where(good[:, None, None], template), template), size), good


def align(images: Tensor, landmarks: Tensor, template: Tensor, size: tuple[int, int]) -> Tensor:
    """Faces in the template's position, bilinearly sampled, black where they come from beyond the image.

    Not antialiased, as the published recognisers' training images are not: a face much larger than the template's
    should be reduced beforehand. Differentiable in images and landmarks.

    Args:
        images: (N, C, H, W) float32 or float64, any range.
        landmarks: (N, 5, 2) in the images' pixels.
        template: (5, 2) in the result's pixels.
        size: height and width of the result.

    Returns:
        (N, C, *size) of the images' type.

    Raises:
        ValueError: see :func:`similarity`.
    """
    return _warped(images, similarity(landmarks.to(images), template), size)


def _warped(images: Tensor, forward: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    turn, shift = forward[:, :, :2], forward[:, :, 2]
    # Sampling asks where a pixel of the result comes from. The inverse of a turn with scaling is its transpose over
    # the determinant.
    back = turn.transpose(1, 2) / torch.linalg.det(turn)[:, None, None]
    x = torch.arange(width, dtype=images.dtype, device=images.device).expand(height, width)
    y = torch.arange(height, dtype=images.dtype, device=images.device)[:, None].expand(height, width)
    places = torch.stack([x, y], dim=2).view(1, -1, 2) - shift[:, None]
    source = (places @ back.transpose(1, 2)).view(-1, height, width, 2)
    # Without align_corners -1 and 1 are the image's edges, half a pixel beyond the outermost centres: the centre k of
    # n pixels is at (2 k + 1) / n - 1.
    grid = (2 * source + 1) / source.new_tensor([images.shape[3], images.shape[2]]) - 1
    return F.grid_sample(images, grid, 'bilinear', 'zeros', align_corners=False)
