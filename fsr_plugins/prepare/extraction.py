"""Faces found in photographs by a detector and cut out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import weights_digests
from fsr_plugins.prepare.boxes import crop_box
from fsr_plugins.prepare.per_thread import PerThread
from fsr_plugins.prepare.plan import CORRUPT, NO_FACE, TOO_SMALL, Item, ItemResult, Skip
from fsr_plugins.prepare.source import Source
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.records import Face

# The faces room is imported when it is used: not for the help, and not by who cuts the centre.
if TYPE_CHECKING:
    from fsr_plugins.faces import Detection, Detector

Align = Literal['ffhq', '112x96', 'box']

#: Photographs that are decoded at once by each thread, at most so many and so many pixels.
_TOGETHER, _PIXELS = 8, 32_000_000


@dataclass(frozen=True)
class FaceExtraction:
    """How faces are found and cut out.

    Attributes:
        align: ``ffhq`` as FFHQ's are, ``112x96`` in SphereFace's template, ``box`` upright round the detector's box.
        size: side of the result; ``112x96`` has its own. Faces that would have to be enlarged are left out.
        margin: of ``box``: beyond the box's longer side at either side, as a fraction of that side.
        min_size: least longer side of a face's box in pixels.
        faces: ``all`` of a picture, or the one with the ``largest`` box.
        detector: one of :data:`fsr_plugins.faces.DETECTORS`.
        weights: a local file (or folder) of its weights; None: the published ones.
        device: where it runs.
    """

    align: Align
    size: int = 128
    margin: float = 0.3
    min_size: int = 0
    faces: Literal['all', 'largest'] = 'all'
    detector: str = 'retinaface_resnet50'
    weights: Path | None = None
    device: str = 'cpu'

    def __post_init__(self) -> None:
        if self.size < 1 or self.min_size < 0 or not 0 <= self.margin <= 4:
            raise UserError(
                f'size {self.size}, min-size {self.min_size} and margin {self.margin} do not fit: size > 0, '
                'min-size >= 0 and 0 <= margin <= 4 are needed.'
            )

    def protocol(self) -> Mapping[str, object]:
        """What pixels depend on; of local weights their content."""
        said: dict[str, object] = {'align': self.align, 'min_size': self.min_size, 'faces': self.faces}
        if self.align != '112x96':
            said['size'] = self.size
        if self.align == 'box':
            said['margin'] = self.margin
        return {**said, 'detector': self.detector, 'weights': weights_digests(self.weights)}

    def open(self) -> Detector:
        """The detector, with its weights."""
        from fsr_plugins.faces import open_detector

        return open_detector(self.detector, self.weights, self.device)


def extract_faces(source: Source, extraction: FaceExtraction) -> Callable[[Sequence[Item]], Iterable[ItemResult]]:
    """``PreparationPlan.make`` of items that are photographs of a source.

    Raises:
        UserError: the detector cannot be opened; found out at once.
    """
    engine = PerThread(extraction.open)  # opened in this thread at once: its errors come before others begin
    return lambda items: _made(source, extraction, engine, items)


def _made(
    source: Source, extraction: FaceExtraction, engine: PerThread[Detector], items: Sequence[Item]
) -> Iterator[ItemResult]:
    for group in _groups(source, items):
        photographs = [photograph for _, photograph in group if not isinstance(photograph, Skip)]
        found = iter(engine.own.detect(photographs)) if photographs else iter(())
        for item, photograph in group:
            if isinstance(photograph, Skip):
                yield [photograph]
            else:
                yield _faces(item, photograph, next(found), extraction)


def _groups(source: Source, items: Sequence[Item]) -> Iterator[list[tuple[Item, Image | Skip]]]:
    """Decoded photographs, or why there is none, of some items at a time."""
    group: list[tuple[Item, Image | Skip]] = []
    pixels = 0
    for item in items:
        photograph: Image | Skip
        try:
            photograph = source.image(item.name)
            pixels += photograph.shape[0] * photograph.shape[1]
        except UserError as error:
            photograph = Skip(item.name, CORRUPT, str(error))
        group.append((item, photograph))
        if len(group) == _TOGETHER or pixels >= _PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def _faces(item: Item, photograph: Image, detections: Sequence[Detection], extraction: FaceExtraction) -> ItemResult:
    if not detections:
        return [Skip(item.name, NO_FACE, f'{photograph.shape[1]}x{photograph.shape[0]}')]
    if extraction.faces == 'largest':
        largest = max(detections, key=lambda one: float(np.prod(one.box[2:] - one.box[:2])))
        return [_face(item, photograph, largest, extraction)]
    return [
        _face(item._replace(key=f'{item.key}_{number:02d}'), photograph, one, extraction)
        for number, one in enumerate(detections, 1)
    ]


def _face(item: Item, photograph: Image, one: Detection, extraction: FaceExtraction) -> Face | Skip:
    longer = float(max(one.box[2:] - one.box[:2]))
    if longer < extraction.min_size:
        return Skip(item.name, TOO_SMALL, f'the box of {item.key} has {longer:.0f} pixels')
    if extraction.align != 'box':
        return _aligned(item, photograph, one.points, extraction)
    # A detector's corners are pixel centres, a box's edges lie half a pixel beyond.
    edges = [float(edge) + 0.5 for edge in one.box]
    return crop_box(item, photograph, edges, margin=extraction.margin, size=extraction.size, points=one.points)


def _aligned(item: Item, photograph: Image, points: npt.NDArray[np.float32], extraction: FaceExtraction) -> Face | Skip:
    import torch

    from fsr_plugins.faces import crops
    from fsr_plugins.faces.alignment import TEMPLATE_112x96, similarity

    # The similarity (2, 3) that brings the photograph's pixels to the result's.
    try:
        if extraction.align == 'ffhq':
            matrix = crops.upright(crops.ffhq_square(points), extraction.size)
        else:
            given = torch.from_numpy(np.asarray(points, np.float64))[None]
            matrix = similarity(given, TEMPLATE_112x96.double())[0].numpy()
    except ValueError as error:
        return Skip(item.name, NO_FACE, f'{item.key}: {error}')
    enlarged = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if enlarged > 1 + 1e-3:  # points that fit exactly are not lost to rounding
        return Skip(item.name, TOO_SMALL, f'{item.key} would have to be enlarged by {enlarged:.2f}')
    size = (112, 96) if extraction.align == '112x96' else (extraction.size, extraction.size)
    border: crops.Border = 'reflect' if extraction.align == 'ffhq' else 'black'
    moved = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return Face(item.key, crops.warp(photograph, matrix, size, border), landmarks=moved)
