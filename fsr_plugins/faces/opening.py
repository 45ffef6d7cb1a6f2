"""Engines by name, as an option or a command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import torch

from fsr_plugins.arguments import home_path
from fsr_plugins.errors import UserError
from fsr_plugins.faces import published
from fsr_plugins.faces.protocol import Detector, Landmarker, Parser
from fsr_plugins.faces.tiling import TiledDetector
from fsr_plugins.registry import near
from fsr_plugins.weights import WeightFile, locate

if TYPE_CHECKING:
    from fsr_plugins.faces.blazeface import MediaPipeDetector

# Engines are imported when one is opened: facexlib and LiteRT take time, and LiteRT need not be installed.

T = TypeVar('T')
#: From a local file or folder of weights (None: the published files) and a device.
Open = Callable[[Path | None, torch.device], T]
#: Also from a score that is enough, or None; see :func:`open_detector`.
OpenDetector = Callable[[Path | None, torch.device, float | None], Detector]


def _retinaface(backbone: Literal['resnet50', 'mobile0.25'], weight: WeightFile) -> OpenDetector:
    def build(path: Path | None, device: torch.device, enough: float | None) -> Detector:
        from fsr_plugins.faces.retinaface import RetinaFaceDetector, network

        file = locate(weight, path)
        net = network(backbone)
        published.load_into(net, file)
        detector = RetinaFaceDetector(net.to(device))
        detector.score = _lower(detector.score, enough)
        return detector

    return build


def _lower(own: float, enough: float | None) -> float:
    return own if enough is None else min(own, enough)


def _mediapipe(path: Path | None, device: torch.device, enough: float | None = None) -> MediaPipeDetector:
    from fsr_plugins.faces.blazeface import BlazeFace, MediaPipeDetector
    from fsr_plugins.faces.facemesh import FaceMesh

    ranges = (published.BLAZEFACE_SHORT, published.BLAZEFACE_FULL)
    finders = [BlazeFace.open(weight, path) for weight in ranges]
    for finder in finders:
        finder.score = _lower(finder.score, enough)
    return MediaPipeDetector(finders, FaceMesh.open(path))


def _mtcnn(path: Path | None, device: torch.device, enough: float | None) -> Detector:
    from fsr_plugins.faces.mtcnn import MtcnnDetector

    detector = MtcnnDetector.open(device, path)
    detector.score = _lower(detector.score, enough)
    return detector


def _mesh(path: Path | None, device: torch.device) -> Landmarker:
    from fsr_plugins.faces.facemesh import FaceMesh

    return FaceMesh.open(path)


def _network(name: str, weight: WeightFile) -> Open[Parser]:
    def build(path: Path | None, device: torch.device) -> Parser:
        from fsr_plugins.faces import parsing

        file = locate(weight, path)
        parser: parsing.FaceParser = getattr(parsing, name)()
        published.load_into(parser.net, file)
        parser.net.to(device)
        return parser

    return build


def _mesh_parser(path: Path | None, device: torch.device) -> Parser:
    from fsr_plugins.faces.mesh_parser import MeshParser

    return MeshParser(_mediapipe(path, device))


DETECTORS: Mapping[str, OpenDetector] = {
    'retinaface_resnet50': _retinaface('resnet50', published.RETINAFACE_RESNET50),
    'retinaface_mobilenet0.25': _retinaface('mobile0.25', published.RETINAFACE_MOBILENET),
    'mediapipe': _mediapipe,
    'mtcnn': _mtcnn,
}
LANDMARKERS: Mapping[str, Open[Landmarker]] = {'mediapipe': _mesh}
PARSERS: Mapping[str, Open[Parser]] = {
    'bisenet': _network('bisenet', published.BISENET),
    'parsenet': _network('parsenet', published.PARSENET),
    'mediapipe': _mesh_parser,
}


def open_detector(
    name: str = 'retinaface_resnet50',
    weights: str | Path | None = None,
    device: str | torch.device = 'cpu',
    enough: float | None = None,
) -> Detector:
    """A face detector by name.

    Args:
        name: One of :data:`DETECTORS`.
        weights: A local file to use instead of the published one (``mediapipe`` and ``mtcnn``: a folder of its files).
        device: Where a network runs; ``mediapipe`` runs on the CPU, always.
        enough: A score, 0 to 1, that is enough for a face where the detector's own threshold is higher; None: that
            threshold (RetinaFace 0.8, ``mediapipe`` 0.5, ``mtcnn`` 0.9).

    Raises:
        UserError: no such name or device, a package that is not installed, or weights that are missing, damaged or
            another network's.
    """
    return _choose('detector', DETECTORS, name)(_path(weights), device_here(device), enough)


def best_without_download(weights: str | Path | None = None) -> str:
    """The detector that is taken where none is named: the best that is there without a download.

    Args:
        weights: A local file, which is RetinaFace's; then nothing else is taken.

    Returns:
        ``mtcnn`` or ``mediapipe``, the first that is installed; else ``retinaface_resnet50``, which is fetched once.
    """
    if weights is not None:
        return 'retinaface_resnet50'
    from fsr_plugins.faces import mtcnn, tflite

    return 'mtcnn' if mtcnn.installed() else 'mediapipe' if tflite.installed() else 'retinaface_resnet50'


def tiled(name: str, detector: Detector, finest: int) -> TiledDetector:
    """The detector of that name, looking at photographs tile by tile.

    Args:
        name: One of :data:`DETECTORS`; MediaPipe's networks take smaller tiles than RetinaFace.
        detector: What :func:`open_detector` has opened.
        finest: See :class:`~fsr_plugins.faces.tiling.TiledDetector`.
    """
    if name == 'mediapipe':
        return TiledDetector(detector, side=256, overlap=96, finest=finest, merging=0.3)
    return TiledDetector(detector, finest=finest)


def open_landmarker(
    name: str = 'mediapipe', weights: str | Path | None = None, device: str | torch.device = 'cpu'
) -> Landmarker:
    """A landmark finder by name, one of :data:`LANDMARKERS`; otherwise as :func:`open_detector`."""
    return _choose('landmark finder', LANDMARKERS, name)(_path(weights), device_here(device))


def open_parser(name: str = 'bisenet', weights: str | Path | None = None, device: str | torch.device = 'cpu') -> Parser:
    """A parser by name, one of :data:`PARSERS`; otherwise as :func:`open_detector`."""
    return _choose('parser', PARSERS, name)(_path(weights), device_here(device))


def check_names(detector: str | None = None, parser: str | None = None) -> None:
    """Sees that what will be opened later is there.

    Raises:
        UserError: no such name.
    """
    if detector is not None:
        _choose('detector', DETECTORS, detector)
    if parser is not None:
        _choose('parser', PARSERS, parser)


def device_here(name: str | torch.device, instead: str = "'cpu' is always there") -> torch.device:
    """A device that computes here.

    Args:
        instead: which one is, for the message.

    Raises:
        UserError: there is none of that name, or it holds no values.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # a device that holds no values ('meta') gives none back
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that knows no CUDA
        reason = str(error).splitlines()[0]
        raise UserError(f'--device {name}: not here ({reason}); {instead}.') from error
    return device


def _choose(kind: str, engines: Mapping[str, T], name: str) -> T:
    if name not in engines:
        raise UserError(f"No {kind} is named '{name}': there are {', '.join(engines)}.{near(name, engines)}")
    return engines[name]


def _path(weights: str | Path | None) -> Path | None:
    return None if weights is None else home_path(weights)
