"""WIDER FACE (Yang et al., CVPR 2016): small real faces by the annotated boxes, TSNet's examples of real LR.

TSNet trains with 4,000 of them at 16x16, "processed in the same way as SCGAN", whose repository gives the small faces
and not how they were cut: bounds, judgements and margin are ours.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, given, register
from fsr_plugins.prepare.boxes import crop_square, square
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.plan import CORRUPT, Item, ItemResult, PreparationPlan, Skip
from fsr_plugins.prepare.source import Source, wrong_layout
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.widerface_annotations import AnnotatedBox, FaceFilter, annotations_of
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

Split = Literal['train', 'val']


class AnnotatedCrop(NamedTuple):
    """A square to cut out of a photograph, and the number of its face there."""

    number: int
    left: int
    top: int
    side: int


def prepare_widerface(
    src: Path,
    dst: Path,
    *,
    split: Split = 'train',
    face_filter: FaceFilter | None = None,
    margin: float = 0.3,
    size: int = 16,
    number: int | None = None,
    seed: int = 0,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Cuts squares round WIDER FACE's annotated faces and reduces them.

    Keys are ``0_Parade_Parade_0_452_0003``: the photograph's name and the face's place among its annotations, from 1.

    Args:
        src: Folder with ``WIDER_<split>.zip`` and ``wider_face_split.zip``, or in which they are unpacked.
        dst: Folder or ``*.lmdb`` to write.
        split: Of the two that have annotations.
        face_filter: Which faces; None: :class:`FaceFilter`'s defaults.
        margin: What the square has beyond the box's longer side at either side, as a fraction of that side.
        size: Side to which squares are reduced, as MATLAB's ``imresize`` does; a smaller square is left out.
        number: Only so many of the faces, drawn at random by ``seed`` from all photographs; None: all.
        seed: Of the draw.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not WIDER FACE, its annotations are damaged, there are fewer faces than ``number``, no
            image is left, or an argument is out of range.
    """
    face_filter = face_filter or FaceFilter()
    if not 0 <= margin <= 4 or size < 1:
        raise UserError(f'margin {margin} and size {size} do not fit: 0 <= margin <= 4 and size > 0 are needed.')
    if face_filter.max_size * (1 + 2 * margin) < size:
        raise UserError(
            f'Boxes of up to {face_filter.max_size} pixels with a margin of {margin} give no square of {size}; '
            'nothing is enlarged: raise --max-size or --margin.'
        )
    with open_source(src) as source:
        # Names in the source by the annotations' names, such as ``0--Parade/0_Parade_Parade_0_452.jpg``.
        pattern = re.compile(rf'(?:.*/)?WIDER_{split}/images/(?P<key>[^/]+/[^/]+\.jpg)')
        photographs = {key: names[0] for key, names in source.by_key(pattern).items()}
        if not photographs:
            expected = f'WIDER_{split}/images/<event>/<image>.jpg'
            raise wrong_layout(source, f'the {split} part of WIDER FACE', expected)
        faces, skipped = _select(annotations_of(source, split), photographs, face_filter, margin, size)
        if number is not None and not 0 < number <= len(faces):
            raise UserError(f'There are {len(faces)} such faces, not {number}: ask for fewer or more kinds of them.')
        if number is not None:
            from fsr_plugins.data.seeding import permutation

            faces = [faces[place] for place in sorted(permutation(seed, 0, len(faces))[:number].tolist())]
        items = _items(photographs, faces)
        drawn = {'split': split, 'margin': margin, 'size': size, 'number': number, 'seed': seed}
        protocol = {**asdict(face_filter), **drawn}
        plan = PreparationPlan('widerface', protocol, items, partial(_made, source, size), skipped, source=source)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _select(
    annotations: Mapping[str, Sequence[AnnotatedBox]],
    photographs: Collection[str],
    face_filter: FaceFilter,
    margin: float,
    size: int,
) -> tuple[list[tuple[str, AnnotatedCrop]], list[Skip]]:
    """The faces to cut, each with its photograph's name, and those that are asked for and not usable."""
    faces, skipped = [], []
    for name, boxes in sorted(annotations.items()):
        chosen = [(number, box) for number, box in enumerate(boxes, 1) if face_filter.accepts(box)]
        if chosen and name not in photographs:
            skipped.append(Skip(name, 'listed, not there', f'{len(chosen)} faces'))
            continue
        for number, box in chosen:
            left, top, side = square((box.x, box.y, box.x + box.width, box.y + box.height), margin)
            if box.invalid:
                skipped.append(Skip(name, 'invalid', f"face {number} is marked so by the set's authors"))
            elif side < size:
                skipped.append(Skip(name, 'too small', f'face {number} gives a square of {side}'))
            else:
                faces.append((name, AnnotatedCrop(number, left, top, side)))
    return faces, skipped


def _items(photographs: Mapping[str, str], faces: Sequence[tuple[str, AnnotatedCrop]]) -> list[Item]:
    """One item a photograph, which is decoded once; ``extra`` is its faces."""
    crops: dict[str, list[AnnotatedCrop]] = {}
    for name, crop in faces:
        crops.setdefault(name, []).append(crop)
    return [Item(Path(name).stem.replace('.', '_'), photographs[name], None, of_one) for name, of_one in crops.items()]


def _made(source: Source, size: int, items: Sequence[Item]) -> Iterator[ItemResult]:
    for item in items:
        try:
            photograph = source.image(item.name)
        except UserError as error:
            yield [Skip(item.name, CORRUPT, str(error))]
            continue
        made: list[Face | Skip] = []
        for number, left, top, side in item.extra:
            try:
                made.append(Face(f'{item.key}_{number:04d}', crop_square(photograph, left, top, side, size)))
            except ValueError as error:
                made.append(Skip(item.name, 'bad box', f'face {number}: {error}'))
        yield made


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_widerface`."""
    usual = FaceFilter()
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder with the archives, or with their contents')
    add_output_arguments(parser)
    parser.add_argument('--split', choices=['train', 'val'], default='train', help='(default: train)')
    parser.add_argument(
        '--min-size', type=int, default=usual.min_size, help=f"box's longer side, at least (default: {usual.min_size})"
    )
    parser.add_argument(
        '--max-size', type=int, default=usual.max_size, help=f"box's longer side, at most (default: {usual.max_size})"
    )
    kinds = (
        ('--blur', usual.blur, '0 clear, 1 normal, 2 heavy (default: all)'),
        ('--occlusion', usual.occlusion, '0 none, 1 partial, 2 heavy (default: 0)'),
        ('--pose', usual.pose, '0 typical, 1 atypical (default: 0)'),
    )
    for flag, default, text in kinds:
        choices = [0, 1] if flag == '--pose' else [0, 1, 2]
        parser.add_argument(flag, type=int, nargs='+', choices=choices, default=list(default), help=f'faces of {text}')
    parser.add_argument('--margin', type=float, default=0.3, help='beyond the box, at either side (default: 0.3)')
    parser.add_argument('--size', type=int, default=16, help='side of the faces (default: 16)')
    parser.add_argument('--number', type=int, help='only so many faces, drawn at random (default: all)')
    parser.add_argument('--seed', type=int, help='of the draw (default: 0)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_widerface` from parsed arguments."""
    kinds = (tuple(sorted(set(values))) for values in (args.blur, args.occlusion, args.pose))
    return prepare_widerface(
        args.src,
        args.dst,
        split=args.split,
        face_filter=FaceFilter(args.min_size, args.max_size, *kinds),
        margin=args.margin,
        size=args.size,
        number=args.number,
        **given(args, args.number is not None, '--number', 'seed'),
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='widerface',
        summary='WIDER FACE: small real faces by the annotated boxes, 16x16 (TSNet)',
        example='fsr prepare widerface WIDER datasets/widerface/train_lr16.lmdb --number 4000',
        add_arguments=add_arguments,
        run=run,
        where='http://shuoyang1213.me/WIDERFACE/ (WIDER_train.zip, WIDER_val.zip, wider_face_split.zip)',
        terms='see the site; the copy on the Hugging Face Hub (CUHK-CSE/wider_face) names CC BY-NC-ND 4.0',
        layout='WIDER_<split>/images/<event>/<image>.jpg and wider_face_split/wider_face_<split>_bbx_gt.txt, '
        'or the archives that hold them, in one folder',
    )
)
