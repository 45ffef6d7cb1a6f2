"""Photographs with known small faces: what the measurements of small faces have in common."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from fsr_plugins.degradations.bicubic import imresize_uint8
from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection, Detector, nearest_centre, similarity
from fsr_plugins.faces.crops import warp
from fsr_plugins.faces.protocol import Floats, Image
from fsr_plugins.faces.scaling import scale_back
from fsr_plugins.images import decode_image
from fsr_plugins.metrics.recogniser import EvaluationRecogniser
from fsr_plugins.restore.network import FaceNetwork

#: Level of the ground; pixels between two images on it.
GROUND, GAP = 128, 4
#: The degradation of a photograph: deviation of the blur in pixels and of the noise in levels, JPEG's quality.
BLUR, NOISE, QUALITY = 0.6, 2.5, 75


@dataclass(frozen=True, eq=False)
class Person:
    """A whole image of a person, uint8 (H, W, 3), and the five points of the face, (5, 2)."""

    image: Image
    points: Floats


@dataclass(frozen=True, eq=False)
class Scene:
    """Reduced images on a plain ground.

    Attributes:
        photograph: uint8 (H, W, 3).
        people: who is seen, N of them.
        corners: (N, 2), x and y of the top left pixel of each one's image.
        points: (N, 5, 2), of the faces in pixels of the photograph.
        side: the longer side of the reduced images.
    """

    photograph: Image
    people: Sequence[Person]
    corners: npt.NDArray[np.int64]
    points: Floats
    side: int


def size_of(argument: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT``."""
    width, height = argument.split('x')
    return int(width), int(height)


@contextmanager
def opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive to read from.

    Raises:
        UserError: it is none, or it is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as found:
            yield found
    except zipfile.BadZipFile as error:
        raise UserError(f"'{archive}' cannot be read as a zip archive: {error}.") from None


def read_people(archive: Path, count: int, detector: Detector) -> list[Person]:
    """One image each of people evenly over a zip archive, whose images have one size and lie in a folder a person.

    The detector says where the points lie. Who it does not see is left out.

    Raises:
        UserError: the archive is none, or the detector sees nobody in it.
    """
    with opened(archive) as found:
        names = sorted(name for name in found.namelist() if name.lower().endswith(('.jpg', '.png')))
        first = list({name.rsplit('/', 1)[0]: name for name in reversed(names)}.values())[::-1]
        chosen = [first[place] for place in np.linspace(0, len(first) - 1, min(count, len(first))).astype(int)]
        images = [decode_image(found.read(name), name) for name in chosen]
    people = []
    for image, faces in zip(images, detector.detect(images), strict=True):
        face = nearest_centre(faces, *image.shape[:2])
        if face is not None:
            people.append(Person(image, face.points))
    if not people:
        raise UserError(f"'{archive}': no face is seen in its {len(images)} images; give a folder a person, of faces.")
    return people


def window(people: Sequence[Person], network: FaceNetwork) -> float:
    """How many pixels of the images one pixel of the network's LR is, as the median of the people."""
    marks = torch.from_numpy(np.stack([person.points for person in people])).double()
    linear = similarity(marks, template(network, 1)).numpy()[:, :, :2]
    return float(np.median(1 / np.sqrt(np.linalg.det(linear))))


def template(network: FaceNetwork, times: int) -> torch.Tensor:
    """Where a face's points lie in the network's LR, or in its LR enlarged: float64 (5, 2)."""
    assert network.points is not None
    return (torch.from_numpy(network.points).double() + 0.5) * times - 0.5


def scattered(count: int, cells: tuple[int, int], cell: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """The corners, x and y, of up to ``count`` images in random cells of a grid, (N, 2).

    Args:
        cells: columns and rows.
        cell: side of a cell in pixels, :data:`GAP` more than that of an image.
    """
    rng = np.random.default_rng(seed)
    places = rng.permutation(cells[0] * cells[1])[:count]
    # By up to some pixels beside the grid's places, for no alignment with tiles or anchors.
    beside = rng.integers(0, GAP, (len(places), 2))
    return np.stack([places % cells[0], places // cells[0]], axis=1) * cell + beside


def laid_out(people: Sequence[Person], size: tuple[int, int] | None, reduction: float, seed: int = 0) -> Scene:
    """Images of people reduced, on a plain ground in random places.

    Args:
        size: width and height of the photograph; None: a square that just holds them.
        reduction: how many times smaller the images become, MATLAB's bicubic kernel.
        seed: of the places; who finds none in the photograph is left out.

    Raises:
        UserError: nobody finds a place, or the images are of several sizes.
    """
    height, width = people[0].image.shape[:2]
    if any(person.image.shape[:2] != (height, width) for person in people):
        raise UserError('The images of people are of several sizes: give an archive whose images have one.')
    small = (max(1, round(height / reduction)), max(1, round(width / reduction)))
    cell = max(small) + GAP
    if size is not None and min(size) < cell:
        raise UserError(f'A photograph of {size[0]}x{size[1]} has no place for an image of {cell} pixels: enlarge it.')
    across = int(np.ceil(len(people) ** 0.5))
    columns, rows = (across, across) if size is None else (size[0] // cell, size[1] // cell)
    scene = np.full((rows * cell, columns * cell) if size is None else size[::-1], GROUND, np.uint8)
    scene = np.repeat(scene[..., None], 3, axis=2)
    corners = scattered(len(people), (columns, rows), cell, seed)
    points = []
    for person, (x, y) in zip(people, corners, strict=False):
        scene[y : y + small[0], x : x + small[1]] = imresize_uint8(person.image, small)
        points.append(scale_back(person.points, (height, width), small) + (x, y))
    return Scene(scene, people[: len(corners)], corners, np.stack(points), max(small))


def degraded(photograph: Image, seed: int = 0) -> Image:
    """A photograph with blur, noise and JPEG compression; strips keep the noise's memory small."""
    result = cv2.GaussianBlur(photograph, (0, 0), BLUR)
    rng = np.random.default_rng(seed)
    for top in range(0, len(result), 256):
        strip = result[top : top + 256]
        noise = rng.standard_normal(strip.shape, np.float32) * np.float32(NOISE)
        strip[...] = np.rint((strip + noise).clip(0, 255)).astype(np.uint8)
    coded = cv2.imencode('.jpg', result[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    decoded: Image = cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB)
    return decoded


def matches(scene: Scene, found: Sequence[Detection]) -> npt.NDArray[np.int64]:
    """(N,): which face was found in the middle half of each one's image, the nearest to its middle; -1: none."""
    if not found:
        return np.full(len(scene.corners), -1)
    middles = np.stack([(face.box[:2] + face.box[2:]) / 2 for face in found])
    away = np.abs(middles[None] - (scene.corners + scene.side / 2)[:, None]).max(axis=2)
    return np.where(away.min(axis=1) < scene.side / 4, away.argmin(axis=1), -1)


def beside_truth(scene: Scene, result: Image, times: int, network: FaceNetwork) -> tuple[Image, Image]:
    """Each face of an enlarged scene, and the image that it was reduced from: two of uint8 (N, H, W, 3).

    Both are brought to where the network's faces lie, in the size of its SR, by the true points.

    Args:
        result: the scene enlarged, uint8 (times H, times W, 3).
    """
    height, width = network.known_size()
    size = height * network.scale, width * network.scale
    goal = template(network, network.scale)
    marks = np.stack([person.points for person in scene.people])
    to_truth = similarity(torch.from_numpy(marks).double(), goal).numpy()
    larger = (scene.points + 0.5) * times - 0.5
    to_result = similarity(torch.from_numpy(larger).double(), goal).numpy()
    truth = np.stack([warp(one.image, to, size) for one, to in zip(scene.people, to_truth, strict=True)])
    return np.stack([warp(result, to, size) for to in to_result]), truth


def psnr(scene: Scene, result: Image, times: int, network: FaceNetwork) -> npt.NDArray[np.float64]:
    """(N,): PSNR in dB of each face, as :func:`beside_truth` has them."""
    made, truth = beside_truth(scene, result, times, network)
    errors = np.square(truth.astype(np.float32) - made).mean(axis=(1, 2, 3), dtype=np.float64)
    decibels: npt.NDArray[np.float64] = 10 * np.log10(255**2 / errors)
    return decibels


def likeness(
    scene: Scene, result: Image, times: int, network: FaceNetwork, recogniser: EvaluationRecogniser
) -> npt.NDArray[np.float64]:
    """(N,): the cosine of each face's embedding and the true one's, of what :func:`beside_truth` gives."""
    marks = template(network, network.scale).float()
    faces = (torch.from_numpy(each).permute(0, 3, 1, 2) / 255 for each in beside_truth(scene, result, times, network))
    made, truth = (recogniser.embed(each, marks.expand(len(each), 5, 2)) for each in faces)
    cosines: npt.NDArray[np.float64] = (made * truth).sum(dim=1).double().numpy()
    return cosines
