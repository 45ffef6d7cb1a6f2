"""What the page does with a picture, without anything of the web."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fsr_plugins.checkpoints.bundled import bundled, summary
from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Floats, Image
from fsr_plugins.images import look_at, read_bytes
from fsr_plugins.restore.choosing import Mode
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.opening import open_network
from fsr_plugins.restore.pictures import Extras, decode, encode
from fsr_plugins.restore.restorer import FaceReport, Restorer
from fsr_plugins.restore.restorers import Photographs

#: Pixels of a picture; what one more takes of memory and time would be taken from all who wait.
MOST_PIXELS = 25_000_000
#: Bytes of a picture's file.
MOST_BYTES = 50 << 20
#: The network that is offered first.
FIRST = 'face_x4_blind'
#: The longer side of what is shown; the whole result is there to be downloaded.
_SHOWN = 1600
#: Restorers that are kept, one for each choice of network, strength and mode.
_KEPT = 12
#: Why a face is left as it is, by the option that leaves it.
_LEFT = {
    '--most': 'left alone: large enough already',
    '--least': 'left alone: too small, too little of it is there',
    '--score': 'left alone: the detector is not sure',
    '--strength': 'left alone: the strength is 0',
}


@dataclass(frozen=True, eq=False)
class Answer:
    """What was made of a picture.

    Attributes:
        png: the bytes of the result as a PNG, with the picture's alpha, Exif and colour profile.
        before: uint8 (H, W, 3), the picture as it was in the size of ``after``.
        after: uint8 (H, W, 3), the result, reduced to 1600 pixels a side where it is larger.
        faces: the faces of a photograph, see :func:`rows`; empty where the picture was taken for a face.
        text: a sentence on what was done.
    """

    png: bytes
    before: Image
    after: Image
    faces: Sequence[FaceReport]
    text: str


class Service:
    """Restores pictures by one of several networks; for one thread at a time.

    Args:
        networks: by the name that they are offered under, the first one by default.
        photographs: how faces are looked for; the strength is each call's own.
    """

    def __init__(self, networks: Mapping[str, FaceNetwork], photographs: Photographs | None = None) -> None:
        self.networks = dict(networks)
        self.photographs = photographs or Photographs()
        self._restorer = functools.lru_cache(_KEPT)(self._opened)

    @classmethod
    def open(
        cls, checkpoints: Sequence[Path] = (), device: str = 'auto', photographs: Photographs | None = None
    ) -> Service:
        """By checkpoints of this toolkit or names of bundled networks.

        Args:
            checkpoints: none: all that are bundled, :data:`FIRST` at the head.
            device: ``auto``, ``cpu``, ``cuda``, …

        Raises:
            UserError: see :func:`~fsr_plugins.restore.opening.open_network`.
        """
        chosen = checkpoints or [Path(name) for name in sorted(bundled(), key=lambda name: (name != FIRST, name))]
        names = _names(chosen)
        return cls({name: open_network(path, device) for name, path in names.items()}, photographs)

    def about(self, name: str) -> str:
        """What a network is for, in a line: its card's first, or how many times it enlarges."""
        if name in bundled():
            return summary(name)
        network = self.networks[name]
        size = '' if network.size is None else f', LR faces of {"×".join(map(str, network.size))}'
        return f'×{network.scale}{size}'

    def _opened(self, network: str, mode: Mode, strength: float) -> Restorer:
        return Restorer(self.networks[network], mode, replace(self.photographs, strength=strength))

    def restore(self, file: Path, name: str, network: str, strength: float = 1.0, mode: Mode = 'auto') -> Answer:
        """What is made of a picture's file.

        Args:
            name: of the picture, for messages.
            network: one of :attr:`networks`.
            strength: how much of a restored face is seen over the untouched one, 0 to 1, in steps of a hundredth.
            mode: see :data:`~fsr_plugins.restore.choosing.Mode`.

        Raises:
            UserError: the file is no picture, is larger than :data:`MOST_BYTES` or :data:`MOST_PIXELS`, or the
                network cannot take it.
        """
        started = time.perf_counter()
        image, extras = _read(file, name)
        restorer = self._restorer(network, mode, round(strength, 2))
        restored = restorer(image)
        after = _shown(restored.image, None)
        before = _shown(image, after.shape[:2])
        if extras.alpha is not None:
            alpha = _shown(extras.alpha, after.shape[:2])[..., None].astype(np.float32) / np.float32(255)
            before, after = (_over_white(each, alpha) for each in (before, after))
        if restorer.kind(image.shape) == 'face':
            found = 'It was taken for a face.'
        elif restored.faces:
            found = f'{sum(face.restored for face in restored.faces)} of {len(restored.faces)} faces are restored.'
        else:
            found = 'No face was found in it.'
        sizes = ' to '.join(f'{each.shape[1]} × {each.shape[0]}' for each in (image, restored.image))
        text = f'{found} {sizes} pixels, by {network}, in {time.perf_counter() - started:.1f} s.'
        return Answer(encode(restored.image, extras, '.png'), before, after, restored.faces, text)


def rows(faces: Sequence[FaceReport]) -> list[list[str]]:
    """A line a face for people: width × height in pixels of the photograph, score, and what became of it."""
    return [
        [
            f'{face.box[2] - face.box[0]:.0f} × {face.box[3] - face.box[1]:.0f}',
            f'{face.score:.2f}',
            _fate(face),
        ]
        for face in faces
    ]


def _fate(face: FaceReport) -> str:
    if not face.restored:
        return _LEFT.get(face.left_by or '', f'left alone by {face.left_by}')
    return 'restored' if face.weight >= 0.995 else f'restored, {face.weight:.0%} of it is seen'


def _names(checkpoints: Sequence[Path]) -> dict[str, Path]:
    """A name for each: its file's, with as many of the folders above it as tell it from the others."""
    paths = list(dict.fromkeys(checkpoints))
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ['/'.join(path.with_suffix('').parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return dict(zip(names, paths, strict=True))
    return {str(path): path for path in paths}


def _read(file: Path, name: str) -> tuple[Image, Extras]:
    data = read_bytes(file)
    if len(data) > MOST_BYTES:
        raise UserError(f"'{name}' has {len(data)} bytes, more than the {MOST_BYTES} that this page takes.")
    header = look_at(data, name)
    if header.height * header.width > MOST_PIXELS:
        raise UserError(
            f"'{name}' has {header.width}×{header.height} pixels, more than the {MOST_PIXELS // 10**6} million that "
            'this page takes: reduce it, or give it to `fsr infer`.'
        )
    return decode(data, name, header.alpha)


def _shown(image: Image, size: tuple[int, ...] | None) -> Image:
    """An image in a size, or no larger than the page shows it."""
    if size is None:
        share = min(1.0, _SHOWN / max(image.shape[:2]))
        size = (max(1, round(image.shape[0] * share)), max(1, round(image.shape[1] * share)))
    if image.shape[:2] == size:
        return image
    kernel = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_CUBIC
    resized: Image = cv2.resize(image, (size[1], size[0]), interpolation=kernel)
    return resized


def _over_white(image: Image, alpha: Floats) -> Image:
    laid: Image = np.rint(255 + (image - np.float32(255)) * alpha).astype(np.uint8)
    return laid
