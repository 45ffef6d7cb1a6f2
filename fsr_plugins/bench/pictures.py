"""The pictures of a report: faces by every entry, details of them, errors, and each entry's worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from fsr_plugins.atomic import write_atomically
from fsr_plugins.bench.candidate import Candidate
from fsr_plugins.bench.data import TestSet
from fsr_plugins.bench.options import Pictures
from fsr_plugins.bench.results import Measured
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.engine.report import grid
from fsr_plugins.models.evaluation import quantise

#: Side of a face in a picture, in pixels, and the quality of its JPEG.
CELL, QUALITY = 128, 92
#: An error of this share of the whole range has the brightest colour.
LARGEST_ERROR = 0.25


@dataclass(frozen=True)
class Picture:
    """A file in ``figures/`` and what it shows."""

    file: Path
    title: str
    caption: str
    alt: str
    narrow: bool = False  #: may stand beside another


@dataclass
class RestoredFaces:
    """Images (1, 3, H, W) RGB in [0, 1] of some test faces, by what made them, and the faces' landmarks."""

    rows: dict[str, list[Tensor]] = field(default_factory=dict)
    landmarks: list[Tensor | None] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


def evenly_spread(count: int, wanted: int) -> list[int]:
    """Places that lie evenly spread over a set."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist()


@torch.inference_mode()
def restore_faces(tests: TestSet, indices: Sequence[int], candidates: Mapping[str, Candidate]) -> RestoredFaces:
    """Some faces as LR, bicubic, by every entry of ``candidates`` (by their titles) and in HR."""
    faces = RestoredFaces()
    restorers = {
        title: candidate.restorer(tests.scale, tests.device)
        for title, candidate in candidates.items()
        if candidate.checkpoint or candidate.images or candidate.colours
    }
    for index in indices:
        lq, gt, landmarks = tests.pick(index)
        made = {title: restore(lq, [tests.dataset.key(index)]) for title, restore in restorers.items()}
        images = {'LR': lq, 'bicubic': bicubic_up(lq, tests.scale), **made}
        for name, image in {**images, 'HR': gt}.items():
            faces.rows.setdefault(name, []).append(quantise(image).cpu())
        faces.landmarks.append(landmarks)
        faces.keys.append(tests.dataset.key(index))
    return faces


def write_all(
    folder: Path, tests: TestSet, candidates: Mapping[str, Candidate], worst: Mapping[str, list[str]], options: Pictures
) -> list[Picture]:
    """Writes every picture.

    Args:
        candidates: by title.
        worst: by title, the keys of the test images that an entry does worst on, the worst first.
    """
    faces = restore_faces(tests, evenly_spread(len(tests), options.faces), candidates)
    named = ', '.join(faces.keys)
    pictures = [
        _write(folder / 'faces.jpg', faces.rows, 'Faces', f'Evenly spread over the test set: {named}.'),
        _write(
            folder / 'errors.jpg',
            errors(faces.rows),
            'Errors',
            f'Absolute difference from HR, mean of R, G and B: black 0, brightest {LARGEST_ERROR:g} of the range and '
            'more.',
        ),
    ]
    if options.details:
        details, how = detail_crops(faces, options.details)
        pictures.insert(1, _write(folder / 'details.jpg', details, 'Details', how))
    place = {tests.dataset.key(index): index for index in range(len(tests))}
    for number, (title, keys) in enumerate(worst.items()):
        if keys:
            rows = restore_faces(tests, [place[key] for key in keys], {title: candidates[title]}).rows
            caption = f'The test faces that {title} does worst on, the worst first: {", ".join(keys)}.'
            pictures.append(_write(folder / f'worst_{number:02d}.jpg', rows, f'Worst of {title}', caption, narrow=True))
    return pictures


def _write(file: Path, rows: Mapping[str, Sequence[Tensor]], title: str, caption: str, narrow: bool = False) -> Picture:
    picture = cv2.imencode('.jpg', grid(rows, CELL), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    write_atomically(file, lambda out: out.write(picture))
    count = len(next(iter(rows.values())))
    alt = f'{title}: {count} columns, rows from the top {", ".join(rows)}.'
    return Picture(file, title, caption, alt, narrow)


def errors(rows: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """Each image's absolute difference from HR in colours, (1, 3, H, W)."""
    found: dict[str, list[Tensor]] = {}
    for name in rows:
        if name in ('LR', 'HR'):
            continue
        found[name] = []
        for image, gt in zip(rows[name], rows['HR'], strict=True):
            error = (image - gt).abs().mean(1)[0]
            scaled = (error / LARGEST_ERROR).clamp(0, 1).mul(255).round().byte().numpy()
            coloured = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
            found[name].append(torch.from_numpy(coloured).permute(2, 0, 1)[None] / 255)
    return {**found, 'HR': list(rows['HR'])}


def detail_crops(faces: RestoredFaces, number: int) -> tuple[dict[str, list[Tensor]], str]:
    """Eyes and mouths of the first faces, or their centres where landmarks are unknown; and which it is."""
    height, width = faces.rows['HR'][0].shape[-2:]
    boxes = [(place, box) for place in range(min(number, len(faces.keys)))
             for box in _boxes(faces.landmarks[place], height, width)]  # fmt: skip
    known = any(points is not None for points in faces.landmarks[:number])
    rows: dict[str, list[Tensor]] = {name: [] for name in faces.rows}
    for name, images in faces.rows.items():
        for place, box in boxes:
            # The box in an image of another size than HR's; at least one pixel.
            left, top, side = (round(value * images[place].shape[-1] / width) for value in box)
            side = max(side, 1)
            rows[name].append(images[place][..., top : top + side, left : left + side])
    how = 'Image-left eye and mouth by the landmarks' if known else 'The centre (the set has no landmarks)'
    return rows, f'{how}, of {", ".join(faces.keys[:number])}.'


#: Left, top and side of a square, in pixels of HR.
Box = tuple[float, float, float]


def _boxes(points: Tensor | None, height: int, width: int) -> list[Box]:
    if points is None or not bool(points.isfinite().all()):
        side = min(height, width) / 2
        return [((width - side) / 2, (height - side) / 2, side)]
    eye, other, _, left, right = points.double()
    side = float(min((other - eye).norm() * 1.1, min(height, width) / 2))
    side = max(side, 8.0)
    centres = [centre.tolist() for centre in (eye, (left + right) / 2)]
    return [
        (min(max(x - side / 2, 0), width - side), min(max(y - side / 2, 0), height - side), side) for x, y in centres
    ]


def worst_faces(measured: Measured, metric: str, better: str, number: int) -> list[str]:
    """The keys of an entry's worst images by a metric that each image has, the worst first; none where it has none."""
    values = measured['images'].get(metric)
    if not values or not number:
        return []
    known = [(value, key) for value, key in zip(values, measured['keys'], strict=True) if value is not None]
    return [key for _, key in sorted(known, reverse=better == 'lower')[:number]]
