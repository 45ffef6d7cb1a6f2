"""The lists that come with CelebA: a line an image, whole numbers in columns."""

from __future__ import annotations

import re
from typing import NamedTuple

from fsr_plugins.errors import UserError
from fsr_plugins.prepare.source import Source

#: Numbers of an image.
Row = tuple[int, ...]

_LINE = re.compile(r'(\d{6})\.(?:jpg|png)((?:\s+-?\d{1,6})+)\s*')
#: The heads of the lists that have them: how many images there are, and the columns' names.
_HEAD = re.compile(r'\d+|[a-z_0-9]+(?: +[a-z_0-9]+)*')


class AnnotationList(NamedTuple):
    """A list: the file's name, what it is for, and its numbers an image."""

    file: str
    what: str
    columns: int


PARTITION = AnnotationList('list_eval_partition.txt', 'the official partition', 1)
IDENTITIES = AnnotationList('identity_CelebA.txt', "the persons' numbers", 1)
ALIGNED_POINTS = AnnotationList('list_landmarks_align_celeba.txt', 'five points of each aligned image', 10)
WILD_POINTS = AnnotationList('list_landmarks_celeba.txt', 'five points of each image in the wild', 10)
BOXES = AnnotationList('list_bbox_celeba.txt', 'boxes of the faces in the wild', 4)


def read_list(source: Source, listing: AnnotationList) -> dict[str, Row] | None:
    """The numbers of each image by its name without ending, or None where there is no such file.

    Raises:
        UserError: the file is there twice, or a line is not one of the list.
    """
    pattern = re.compile(r'(?:.*/)?' + re.escape(listing.file))
    if not any(pattern.fullmatch(name) for name in source.names):
        return None
    name = source.one(pattern, listing.file)
    rows: dict[str, Row] = {}
    for number, line in enumerate(source.text(name).splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        row = tuple(map(int, match[2].split())) if match else ()
        if match and len(row) == listing.columns:
            rows[match[1]] = row
        elif line.strip() and not (number <= 2 and not rows and _HEAD.fullmatch(line.strip())):
            raise UserError(
                f"'{source.where(name)}', line {number}, is not an image's name and {listing.columns} whole numbers: "
                f'{line[:60]!r}; download the list again.'
            )
    return rows


def required_list(source: Source, listing: AnnotationList) -> dict[str, Row]:
    """:func:`read_list` of a list that must be there.

    Raises:
        UserError: also if it is not.
    """
    rows = read_list(source, listing)
    if rows is None:
        raise UserError(
            f"'{source.path}' has no {listing.file}, {listing.what}; put it there, or say where it is (--annotations)."
        )
    return rows
