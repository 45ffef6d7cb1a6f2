"""BlazeFace (Bazarevsky et al., 2019), MediaPipe's face detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fsr_plugins.faces.facemesh import FaceMesh
from fsr_plugins.faces.overlap import best_of_each, shared
from fsr_plugins.faces.protocol import Detection, Floats, Image, Images, Landmarks, check_images
from fsr_plugins.faces.scaling import scale_back, scale_to
from fsr_plugins.faces.tflite import Network, sigmoid
from fsr_plugins.weights import WeightFile

#: By the side of a network's input: its levels as (stride, anchors at each place), after MediaPipe's graphs.
_LEVELS = {128: ((8, 2), (16, 6)), 192: ((4, 1),)}


@dataclass(frozen=True, eq=False)
class Found:
    """What BlazeFace says of a face.

    Attributes:
        box: float32 (4,), x0, y0, x1, y1 in pixels: brows to chin.
        score: 0 to 1.
        points: float32 (6, 2): image-left eye, image-right eye, nose, middle of the mouth, the ears.
    """

    box: Floats
    score: float
    points: Floats


def anchors(side: int) -> Floats:
    """Centres of the anchors as shares of the input: float32 (A, 2), by level, row, column."""
    levels = []
    for stride, times in _LEVELS[side]:
        centre = (np.arange(side // stride, dtype=np.float32) + 0.5) * stride / side
        y, x = np.meshgrid(centre, centre, indexing='ij')
        levels.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), times, axis=0))
    return np.concatenate(levels)


def merge(places: Floats, scores: Floats, overlap: float) -> tuple[Floats, Floats]:
    """Blends the many guesses at each face into one: MediaPipe's weighted suppression.

    The best guess takes all others whose boxes overlap its own by more than ``overlap`` (intersection over union);
    their places' mean, weighted by score, becomes its place. Then the best of the rest, and so on.

    Args:
        places: (A, 2 + K, 2): top left, bottom right, points.
        scores: (A,).
        overlap: 0 to 1.

    Returns:
        places (F, 2 + K, 2) and scores (F,), descending.
    """
    boxes = places[:, :2].reshape(-1, 4)
    kept = best_of_each(boxes, scores, overlap)
    taken = np.stack([shared(boxes[best], boxes) > overlap for best in kept])
    # A guess belongs to the first that takes it; cumsum is 1 from there to the second.
    first = taken & (taken.cumsum(axis=0) == 1)
    weights = first * scores
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum('fa,apx->fpx', weights, places), scores[kept]


class BlazeFace:
    """Finds faces by one of BlazeFace's networks.

    Args:
        network: Short range (faces of an arm's length, 128×128) or full range (192×192).
        score: Guesses below it are left out; MediaPipe's value.
        overlap: See :func:`merge`; MediaPipe's value.
    """

    def __init__(self, network: Network, score: float = 0.5, overlap: float = 0.3) -> None:
        self.network = network
        self.score = score
        self.overlap = overlap
        self.anchors = anchors(network.side)

    @classmethod
    def open(cls, weight: WeightFile, folder: Path | None = None) -> BlazeFace:
        """From a published file; see :meth:`~fsr_plugins.faces.tflite.Network.open`."""
        return cls(Network.open(weight, folder))

    def find(self, image: Image) -> list[Found]:
        """The faces in uint8 (H, W, 3), by descending score."""
        side = self.network.side
        scaled = scale_to(image, side, enlarge=True)
        height, width = scaled.shape[:2]
        top, left = (side - height) // 2, (side - width) // 2
        padded = cv2.copyMakeBorder(
            scaled, top, side - height - top, left, side - width - left, cv2.BORDER_CONSTANT, value=(0, 0, 0)
        )
        raw, logits = self.network(padded.astype(np.float32) / 127.5 - 1)
        # (A, 16) to corners and points (A, 8, 2) as shares of the input.
        pairs = raw.reshape(-1, 8, 2) / side
        centre, half = pairs[:, 0] + self.anchors, pairs[:, 1] / 2
        corners = np.stack([centre - half, centre + half], axis=1)
        places = np.concatenate([corners, pairs[:, 2:] + self.anchors[:, None]], axis=1)
        scores = sigmoid(logits[:, 0])
        good = (scores > self.score) & (places[:, 1] > places[:, 0]).all(axis=1)
        if not good.any():
            return []
        merged, best = merge(places[good], scores[good], self.overlap)
        # The network speaks of the input's edges; whole numbers are pixel centres here.
        inside = scale_back(merged * side - 0.5 - np.array([left, top]), (height, width), image.shape[:2])
        return [
            Found(one[:2].ravel(), float(score), one[2:])
            for one, score in zip(inside.astype(np.float32), best, strict=True)
        ]


class MediaPipeDetector:
    """BlazeFace, its points by the face mesh; see :class:`~fsr_plugins.faces.protocol.Detector`.

    BlazeFace has no mouth corners, so the mesh looks at each face. One that it does not see is left out.

    Args:
        finders: BlazeFace's networks. Each is blind to some sizes, small faces or such as fill the image; where two see
            the same face, the surer is believed.
        mesh: The face mesh.
        overlap: Boxes of one face overlap by more (intersection over union).
    """

    def __init__(self, finders: Sequence[BlazeFace], mesh: FaceMesh, overlap: float = 0.3) -> None:
        self.finders = finders
        self.mesh = mesh
        self.overlap = overlap

    def detect(self, images: Images) -> list[list[Detection]]:
        """See :meth:`Detector.detect`."""
        check_images(images)
        return [[face for face, _ in self.see(image)] for image in images]

    def see(self, image: Image) -> list[tuple[Detection, Landmarks]]:
        """The faces in uint8 (H, W, 3) with their meshes, by descending score."""
        found = [one for finder in self.finders for one in finder.find(image)]
        if found:
            boxes, scores = np.stack([one.box for one in found]), np.array([one.score for one in found])
            found = [found[place] for place in best_of_each(boxes, scores, self.overlap)]
        # Eyes, nose and twice the mouth's middle: where to look takes no more.
        seen = [self.mesh.look(image, one.points[[0, 1, 2, 3, 3]]) for one in found]
        return [
            (Detection(one.box, one.score, marks.points), marks)
            for one, marks in zip(found, seen, strict=True)
            if marks is not None
        ]
