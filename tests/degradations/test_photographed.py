"""Faces of photographs against what OpenCV makes of a photograph."""

import cv2
import numpy as np
import pytest
import torch
from test_camera import NO_CAMERA

from fsr_plugins.degradations import BicubicDown, PhotographedFace
from fsr_plugins.errors import UserError
from fsr_plugins.faces.crops import warp


def picture(side: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.float32)
    contrast = (cv2.GaussianBlur(noise, (0, 0), 2.5) - 128) * 6 + 128
    return np.clip(contrast, 0, 255).round().astype(np.uint8)


def tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize('pixels', [10, 16, 20, 32, 40])
def test_face_equals_one_cut_out_of_a_photograph_by_opencv(pixels):
    """The face is 128 pixels of a wider image; the whole is reduced by area, and `warp` cuts the face out."""
    images = [picture(128, seed) for seed in range(24)]
    seeds = torch.arange(24)
    camera = PhotographedFace(4, size=(pixels / 32, pixels / 32), **NO_CAMERA)
    size, place = camera.sizes_and_places(seeds)
    torch.testing.assert_close(size, torch.full((24,), pixels / 32))
    made = camera(tensor(images), seeds).permute(0, 2, 3, 1).numpy() * 255
    near = []
    for image, shift, lr in zip(images, place.numpy(), made, strict=True):
        mirrored = cv2.copyMakeBorder(image, 128, 128, 128, 128, cv2.BORDER_REFLECT)
        # One pixel of the photograph, in those of the image; where its grid begins in the mirrored image.
        pixel = 128 / pixels
        start = 128 - (shift + 4) * pixel
        count = pixels + 10
        places = np.arange(count * 32) + 0.5
        columns, rows = (places * pixel / 32 + one - 0.5 for one in start)
        grid = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
        fine = cv2.remap(mirrored.astype(np.float32), *grid, cv2.INTER_NEAREST)
        photograph = cv2.resize(fine, (count, count), interpolation=cv2.INTER_AREA)
        to_lr = 32 / pixels
        matrix = np.array([[to_lr, 0, 0], [0, to_lr, 0]])
        matrix[:, 2] = 0.5 * to_lr - 0.5 - (shift + 4) * to_lr
        theirs = warp(photograph, matrix, (32, 32), 'reflect', 'cubic')
        near.append(np.abs(lr - theirs.clip(0, 255)).mean())
    # A third of the images is reduced by area, the others by two other ways.
    assert sorted(near)[5] < 0.7, sorted(near)


def test_aligned_faces_are_those_of_lr():
    images = tensor([picture(64, seed) for seed in range(48)])
    seeds = torch.arange(48)
    aligned = PhotographedFace(4, aligned=1.0, **NO_CAMERA)
    torch.testing.assert_close(aligned.sizes_and_places(seeds)[0], torch.ones(48))
    error = (aligned(images, seeds) - BicubicDown(4)(images)).abs().amax(dim=(1, 2, 3))
    # A third of them is reduced bicubically, to the last bit but for rounding.
    assert 8 <= (error < 1.5 / 255).sum() <= 24
    half = PhotographedFace(4, aligned=0.5, **NO_CAMERA)
    assert 12 <= (half.sizes_and_places(seeds)[0] == 1).sum() <= 36


def test_a_small_face_has_less_detail():
    images = tensor([picture(128, seed) for seed in range(16)])
    detail = [
        PhotographedFace(4, size=(size, size), **NO_CAMERA)(images, torch.arange(16)).diff(dim=3).square().mean()
        for size in (0.3, 0.5, 1.0)
    ]
    assert detail[0] < 0.6 * detail[1] < 0.36 * detail[2]


def test_an_image_comes_out_the_same_in_any_batch():
    images, seeds = tensor([picture(64, seed) for seed in range(6)]), torch.arange(6) + 10
    camera = PhotographedFace(4, aligned=0.3, clean=0.3)
    together = camera(images, seeds)
    assert together.shape == (6, 3, 16, 16)
    torch.testing.assert_close(torch.cat([camera(images[i : i + 1], seeds[i : i + 1]) for i in range(6)]), together)
    assert not torch.equal(camera(images, seeds + 1), together)
    torch.testing.assert_close(together * 255, (together * 255).round(), atol=1e-3, rtol=0)


def test_sizes_are_refused_by_name():
    for size in ((0.0, 1.0), (2.0, 1.0), (1.0, 5.0)):
        with pytest.raises(UserError, match=r"PhotographedFace: 'size'"):
            PhotographedFace(4, size=size)
    with pytest.raises(UserError, match=r"PhotographedFace: 'size' is 0.5; give two ascending numbers"):
        PhotographedFace(4, size=0.5)
    with pytest.raises(UserError, match=r"PhotographedFace: 'aligned' is 1.5; give a number from 0 to 1"):
        PhotographedFace(4, aligned=1.5)
