"""Pictures of any kind in, larger ones of the same kind out: the toolkit's restoration in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Size
from fsr_plugins.images import Header
from fsr_plugins.restore.choosing import ByPicture, Mode, enlarger
from fsr_plugins.restore.forward import Engine, InferencePrecision
from fsr_plugins.restore.kinds import Opened, opened
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.opening import open_network
from fsr_plugins.restore.pictures import enlarged_alpha
from fsr_plugins.restore.restorers import PhotographFaces, Photographs
from fsr_plugins.values import Record

#: A picture: of Pillow; an array (H, W) or (H, W, C) or a tensor (C, H, W), uint8 or float in [0, 1], C being 1 (grey),
#: 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha); or the path of a file.
Picture: TypeAlias = PILImage.Image | npt.NDArray[np.generic] | Tensor | str | Path


@dataclass(frozen=True)
class FaceReport:
    """A face in a photograph.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the photograph.
        score: the detector's confidence, 0 to 1.
        points: (5, 2), x and y of image-left eye, image-right eye, nose, and the mouth's corners.
        size: the box's longer side in pixels.
        restored: whether the network has enlarged it.
        left_by: what has left it as it is, the name of an option; None where it is restored.
        weight: how much of the restored face is seen over the untouched one, 0 to 1.
    """

    box: tuple[float, ...]
    score: float
    points: tuple[tuple[float, ...], ...]
    size: float
    restored: bool
    left_by: str | None
    weight: float


class Restored(NamedTuple):
    """A result.

    Attributes:
        image: the larger picture, of the kind that was given; of Pillow where a path was given. One of Pillow keeps
            the colour profile.
        faces: those found in a photograph; empty where the picture was taken for a face.
    """

    image: Any
    faces: list[FaceReport]


class Restorer:
    """Enlarges pictures by a network; see :meth:`__call__`.

    Args:
        network: an opened network.
        mode: ``face``: every picture is a face, which is brought to the size of the network's LR if it has another;
            ``photograph``: faces are looked for, enlarged and put back into the picture, which is enlarged
            bicubically; ``auto``: a picture no larger than 1.5 times the network's LR is a face, any other a
            photograph. A network that does not say how large its LR is enlarges every picture as a whole.
        photographs: how faces are looked for in photographs and which are restored.

    Raises:
        UserError: the network does not fit the mode, or the detector cannot be opened.
    """

    def __init__(self, network: FaceNetwork, mode: Mode = 'auto', photographs: Photographs | None = None) -> None:
        if mode not in ('auto', 'face', 'photograph'):
            raise UserError(f"mode '{mode}': 'auto', 'face' or 'photograph' is needed.")
        if photographs is not None and not isinstance(photographs, Photographs):
            raise UserError(
                f"'photographs' is {type(photographs).__name__}: fsr_plugins.restore.Photographs(…) is needed, with "
                'the same names.'
            )
        self.network = network
        self._enlarger = enlarger(network, mode, photographs or Photographs(), network.size is not None)

    @classmethod
    def open(
        cls,
        checkpoint: str | Path,
        *,
        mode: Mode = 'auto',
        photographs: Photographs | None = None,
        device: str = 'auto',
        precision: InferencePrecision = 'auto',
        size: tuple[int, int] | None = None,
        param_key: str | None = None,
        batch_size: int | None = None,
        engine: Engine = 'auto',
    ) -> Restorer:
        """By a checkpoint of this toolkit.

        Args:
            mode, photographs: see the class.
            device, precision, size, param_key, batch_size, engine: see
                :func:`~fsr_plugins.restore.opening.open_network`.

        Raises:
            UserError: see the class and :func:`~fsr_plugins.restore.opening.open_network`.
        """
        network = open_network(checkpoint, device, precision, param_key, size, batch_size, engine)
        return cls(network, mode, photographs)

    @overload
    def __call__(self, images: Picture) -> Restored: ...
    @overload
    def __call__(self, images: list[Picture] | tuple[Picture, ...]) -> list[Restored]: ...
    def __call__(self, images: Picture | list[Picture] | tuple[Picture, ...]) -> Restored | list[Restored]:
        """Enlarges a picture, or a list of them: larger pictures of the kinds given, and their faces.

        Grey stays grey, and alpha is enlarged bicubically. Floats are reckoned with 8 bits.

        Raises:
            UserError: a picture is of no kind that is taken, floats lie outside [0, 1], a file cannot be read, or the
                network does not take a picture; its place in the list is named.
        """
        if isinstance(images, (PILImage.Image, np.ndarray, Tensor, str, Path)):
            return self._restored([images])[0]
        return self._restored(list(images))

    def kind(self, size: Size) -> Literal['face', 'photograph']:
        """What a picture of that height and width is taken for."""
        working = self._enlarger
        if isinstance(working, ByPicture):
            return working.kind(size)
        return 'photograph' if isinstance(working, PhotographFaces) else 'face'

    def _restored(self, images: Sequence[Picture]) -> list[Restored]:
        read: dict[Path, Opened] = {}
        for place, image in enumerate(images):
            name = Path(f'picture {place}')
            read[name] = opened(image, str(name))
            height, width = read[name].rgb.shape[:2]
            why = self._enlarger.unfit(Header('PNG', height, width))
            if why is not None:
                raise UserError(f"'{name}' {why}")
        results: list[Restored] = []
        names = list(read)
        for start in range(0, len(names), self._enlarger.together):
            some = names[start : start + self._enlarger.together]
            made, wrong = self._enlarger.make({name: read[name].rgb for name in some})
            if wrong:
                name, why = next(iter(wrong.items()))
                raise UserError(why if str(name) in why else f"'{name}': {why}")
            for name in some:
                picture, result = read[name], made[name]
                alpha = None if picture.alpha is None else enlarged_alpha(picture.alpha, result.image.shape)
                faces = result.about.get('faces', [])
                assert isinstance(faces, list)
                results.append(Restored(picture.back(result.image, alpha), [_report(face) for face in faces]))
        return results


def _report(about: Record) -> FaceReport:
    return FaceReport(
        tuple(about['box']),
        about['score'],
        tuple(map(tuple, about['points'])),
        about['size'],
        about['restored'],
        about.get('left_by'),
        about['weight'],
    )
