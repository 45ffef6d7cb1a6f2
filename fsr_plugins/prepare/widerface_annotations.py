"""WIDER FACE's annotations: every face's box, and what its annotators say of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fsr_plugins.errors import UserError
from fsr_plugins.prepare.source import Source

#: No photograph of the set is as large; what lies beyond is no annotation.
_FAR = 1 << 16


class AnnotatedBox(NamedTuple):
    """An annotated face: pixels of the photograph, and the annotators' judgements."""

    x: int
    y: int
    width: int
    height: int
    blur: int
    expression: int
    illumination: int
    invalid: int
    occlusion: int
    pose: int


@dataclass(frozen=True)
class FaceFilter:
    """Which annotated faces are taken.

    Attributes:
        min_size, max_size: bounds of the box's longer side in pixels, both inclusive.
        blur: 0 clear, 1 normal, 2 heavy.
        occlusion: 0 none, 1 partial, 2 heavy.
        pose: 0 typical, 1 atypical.

    Raises:
        UserError: the bounds are not positive, or not ascending.
    """

    min_size: int = 10
    max_size: int = 36
    blur: tuple[int, ...] = (0, 1, 2)
    occlusion: tuple[int, ...] = (0,)
    pose: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not 0 < self.min_size <= self.max_size:
            raise UserError(f'min-size {self.min_size} and max-size {self.max_size} do not fit: 0 < min <= max.')

    def accepts(self, box: AnnotatedBox) -> bool:
        """Whether a face is among them; a box without area never is."""
        return (
            min(box.width, box.height) > 0
            and self.min_size <= max(box.width, box.height) <= self.max_size
            and box.blur in self.blur
            and box.occlusion in self.occlusion
            and box.pose in self.pose
        )


def annotations_of(source: Source, split: str) -> dict[str, list[AnnotatedBox]]:
    """The annotated faces of a split (``train``, ``val``) by photograph, see :func:`read_annotations`.

    Raises:
        UserError: the list is not there, or damaged.
    """
    name = source.one(re.compile(rf'(?:.*/)?wider_face_{split}_bbx_gt\.txt'), f'wider_face_{split}_bbx_gt.txt')
    try:
        return read_annotations(source.text(name).splitlines())
    except ValueError as error:
        raise UserError(f"'{source.where(name)}' is damaged: {error}; download wider_face_split.zip again.") from error


def read_annotations(lines: Sequence[str]) -> dict[str, list[AnnotatedBox]]:
    """Faces by photograph: of each a line with its name, one with the number of faces, and a line for each face.

    A photograph without faces is followed by one line of zeros all the same.

    Raises:
        ValueError: the lines are not of this form.
    """
    found: dict[str, list[AnnotatedBox]] = {}
    rest = iter(lines)
    for name in rest:
        if not name.strip():
            continue
        count = next(rest, '').strip()
        if not count.isdecimal():
            raise ValueError(f"after '{name}' there is '{count}', no number of faces")
        boxes = [_box(next(rest, '')) for _ in range(max(int(count), 1))]
        found[name.strip()] = boxes[: int(count)]
    return found


def _box(line: str) -> AnnotatedBox:
    try:
        box = AnnotatedBox(*map(int, line.split()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"'{line}' is no face: ten whole numbers are needed") from error
    if max(map(abs, box)) > _FAR:
        raise ValueError(f"'{line}' is no face: it lies beyond any photograph")
    return box
