"""Faces in images: where they are, their points and parts, and how they are brought into another position."""

from fsr_plugins.faces.alignment import (
    TEMPLATE_112x96,
    TEMPLATE_112x112,
    align,
    alignable,
    aligned_for,
    similarity,
    template_for,
)
from fsr_plugins.faces.crops import TEMPLATE_512x512, align_ffhq, align_to, ffhq_square, ffhq_template
from fsr_plugins.faces.opening import (
    DETECTORS,
    LANDMARKERS,
    PARSERS,
    best_without_download,
    check_names,
    open_detector,
    open_landmarker,
    open_parser,
    tiled,
)
from fsr_plugins.faces.parts import PARTS
from fsr_plugins.faces.protocol import Detection, Detector, Landmarker, Landmarks, Parser, nearest_centre
from fsr_plugins.faces.tiling import TiledDetector

__all__ = [
    'DETECTORS',
    'LANDMARKERS',
    'PARSERS',
    'PARTS',
    'TEMPLATE_112x96',
    'TEMPLATE_112x112',
    'TEMPLATE_512x512',
    'Detection',
    'Detector',
    'Landmarker',
    'Landmarks',
    'Parser',
    'TiledDetector',
    'align',
    'align_ffhq',
    'align_to',
    'aligned_for',
    'alignable',
    'best_without_download',
    'check_names',
    'ffhq_square',
    'ffhq_template',
    'nearest_centre',
    'open_detector',
    'open_landmarker',
    'open_parser',
    'similarity',
    'template_for',
    'tiled',
]
