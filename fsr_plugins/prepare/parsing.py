"""Parsing maps of every face of a prepared dataset, made by a network."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from fsr_plugins.arguments import given_path
from fsr_plugins.prepare.annotating import Annotator, FaceAnnotation, annotate
from fsr_plugins.prepare.base import Prepared, Preparer, add_engine_arguments, register, weights_digests


def prepare_parsing(
    dst: Path, *, engine: str = 'bisenet', weights: Path | None = None, device: str = 'cpu'
) -> Prepared:
    """Adds maps of CelebAMask-HQ's parts (19 ids); earlier ones are replaced, images without a face are left out.

    Args:
        dst: A folder or LMDB that ``fsr prepare`` has written, of aligned or cropped faces.
        engine: One of :data:`fsr_plugins.faces.PARSERS`; ``mediapipe`` draws a face mesh, without hair, neck and ears.
        weights: A local file (``mediapipe``: a folder) in the place of the published weights.
        device: Where a network runs.

    Raises:
        UserError: no prepared dataset, no such engine, or its weights or package are not there.
    """

    def open_annotator() -> Annotator:
        from fsr_plugins.faces import open_parser

        return open_parser(engine, weights, device).parse

    return annotate(
        dst, FaceAnnotation('parsing', {'engine': engine, 'weights': weights_digests(weights)}, open_annotator)
    )


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_parsing`."""
    parser.add_argument('dst', metavar='DST', type=given_path, help='folder or LMDB that fsr prepare has written')
    add_engine_arguments(parser, 'bisenet', 'parsenet, mediapipe')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_parsing` from parsed arguments."""
    return prepare_parsing(args.dst, engine=args.engine, weights=args.weights, device=args.device)


register(
    Preparer(
        name='parsing',
        summary='adds the parsing map of each face to a prepared dataset',
        example='fsr prepare parsing datasets/lfw/fit.lmdb --engine mediapipe',
        add_arguments=add_arguments,
        run=run,
    )
)
