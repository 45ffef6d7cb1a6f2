"""Five points of every face of a prepared dataset, found by a network."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fsr_plugins.arguments import given_path
from fsr_plugins.prepare.annotating import Annotator, FaceAnnotation, annotate
from fsr_plugins.prepare.base import Prepared, Preparer, add_engine_arguments, register, weights_digests
from fsr_plugins.stores.images import Image


def prepare_landmarks(
    dst: Path,
    *,
    engine: str = 'retinaface_resnet50',
    weights: Path | None = None,
    device: str = 'cpu',
    keep: bool = False,
) -> Prepared:
    """Adds the five points of the face nearest to each image's centre; earlier points are replaced.

    Args:
        dst: A folder or LMDB that ``fsr prepare`` has written.
        engine: One of :data:`fsr_plugins.faces.DETECTORS`; of ``mediapipe`` the points are the face mesh's.
        weights: A local file (``mediapipe``: a folder) in the place of the published weights.
        device: Where a network runs.
        keep: Keep images on which no face is found, their points unknown (NaN), instead of leaving them out.

    Raises:
        UserError: no prepared dataset, no such engine, or its weights or package are not there.
    """

    def open_annotator() -> Annotator:
        from fsr_plugins.faces import nearest_centre, open_detector

        detector = open_detector(engine, weights, device)

        def find(images: Sequence[Image]) -> list[npt.NDArray[np.float32] | None]:
            chosen = [
                nearest_centre(found, *image.shape[:2])
                for image, found in zip(images, detector.detect(images), strict=True)
            ]
            return [None if one is None else one.points for one in chosen]

        return find

    unknown = (lambda height, width: np.full((5, 2), np.nan, np.float32)) if keep else None
    settings = {'engine': engine, 'weights': weights_digests(weights), **({'keep': True} if keep else {})}
    return annotate(dst, FaceAnnotation('landmarks', settings, open_annotator, unknown))


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_landmarks`."""
    parser.add_argument('dst', metavar='DST', type=given_path, help='folder or LMDB that fsr prepare has written')
    add_engine_arguments(parser, None, 'mtcnn, mediapipe, retinaface_resnet50, retinaface_mobilenet0.25')
    parser.add_argument(
        '--keep', action='store_true', help='keep images without a face, with unknown points (default: leave them out)'
    )


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_landmarks` from parsed arguments."""
    from fsr_plugins.faces import best_without_download

    engine = args.engine or best_without_download(args.weights)
    return prepare_landmarks(args.dst, engine=engine, weights=args.weights, device=args.device, keep=args.keep)


register(
    Preparer(
        name='landmarks',
        summary='adds the five points of each face to a prepared dataset',
        example='fsr prepare landmarks datasets/lfw/fit.lmdb --engine mediapipe',
        add_arguments=add_arguments,
        run=run,
    )
)
