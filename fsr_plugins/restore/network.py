"""A trained network with what its checkpoint says of the faces that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.checkpoints import load, meta_of, saw_crops_of_anything, trained_on
from fsr_plugins.config.problems import explained
from fsr_plugins.degradations.bicubic import imresize_uint8
from fsr_plugins.errors import UserError
from fsr_plugins.faces import ffhq_template
from fsr_plugins.faces.batching import batches, to_tensor
from fsr_plugins.faces.protocol import Floats, Image, Images, check_images
from fsr_plugins.faces.scaling import scale_back

#: What a command says of its results.
Json = dict[str, Any]

#: Faces that go through the network together, at most so many and so many pixels.
_TOGETHER, _PIXELS, _UNBOUND = 32, 1 << 18, 1 << 62
#: Pixels of the largest LR.
_LARGEST = 1 << 26
#: Where the checkpoint does not say it: from which share of LR on a face gains, and up to which.
GAINS = (0.4375, 0.88)
#: The same of a network whose SR is as large as its LR: whatever has to be enlarged for it.
GAINS_OF_SAME_SIZE = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class FaceNetwork:
    """A network for faces.

    Attributes:
        net: from LR to SR, NCHW RGB in [0, 1].
        scale: how many times it enlarges.
        size: height and width of the LR faces that it takes; None where that is not known.
        size_given: whether ``size`` was asked for; otherwise the network was trained with it.
        crop: height and width of LR in its training, where that were random crops and no faces.
        gains: the smallest and the largest faces of a photograph that gain, as shares of LR.
        points: float32 (5, 2), where their points lie on average, in pixels of LR; None where that is not known.
        device: where it runs.
        name: for messages.
    """

    net: Callable[[Tensor], Tensor]
    scale: int
    size: tuple[int, int] | None = None
    points: Floats | None = None
    device: torch.device = torch.device('cpu')
    name: str = 'the network'
    size_given: bool = False
    batch_size: int | None = None
    gains: tuple[float, float] = GAINS
    crop: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: str | Path, device: torch.device | str = 'cpu', param_key: str | None = None) -> FaceNetwork:
        """The network of a checkpoint of this toolkit, or of another program's; see :func:`fsr_plugins.load`.

        Args:
            param_key: ``params`` or ``params_ema``; by default the averaged weights where there are some.

        Raises:
            UserError: see :func:`fsr_plugins.load`; or the file does not say the scale.
        """
        device = torch.device(device)
        net = load(path, param_key=param_key)
        meta = meta_of(net)
        scale = meta.get('scale')
        if not isinstance(scale, int):
            raise UserError(f"'{path}' does not say how many times its network enlarges ('scale' in its 'meta').")
        faces = trained_on(meta)
        least, most = GAINS if scale > 1 else GAINS_OF_SAME_SIZE
        gains = meta.get('gains_from', least), meta.get('gains_up_to', most)
        hr, points = faces['size'], faces['points']
        if hr is None:
            return cls(net.to(device), scale, device=device, name=f"'{path}'", gains=gains)
        size = hr[0] // scale, hr[1] // scale
        if min(size) < 1:
            raise UserError(f"'{path}' says that its network enlarges {scale} times, to no more than {hr[0]}×{hr[1]}.")
        if saw_crops_of_anything(meta):
            return cls(net.to(device), scale, device=device, name=f"'{path}'", gains=gains, crop=size)
        placed = None if points is None else scale_back(np.array(points, np.float32), (hr[0], hr[1]), size)
        if placed is None and meta.get('aligned') == 'ffhq' and size[0] == size[1]:
            placed = ffhq_template(size[0]).numpy()
        return cls(net.to(device), scale, size, placed, device, f"'{path}'", gains=gains)

    @torch.inference_mode()
    def __call__(self, faces: Images) -> list[Image]:
        """Enlarges uint8 (H, W, 3) RGB faces of any sizes, those of one size together; in their order.

        Raises:
            UserError: a face is not uint8 (H, W, 3), or the network does not take its size. The network does not
                enlarge by its scale (a discriminator, say), or its values are not finite.
        """
        try:
            check_images(faces)
        except ValueError as error:
            raise UserError(f'{self.name} takes faces of 0 to 255. {error} Restorer takes other kinds.') from error
        found: dict[int, Image] = {}
        most = (_TOGETHER, _PIXELS) if self.batch_size is None else (self.batch_size, _UNBOUND)
        for places, batch in batches(faces, *most):
            height, width = batch.shape[1:3]
            with explained(f'{self.name} does not take faces of {height}×{width}'):
                sr = self.net(to_tensor(batch, self.device) / 255)
            expected = (len(places), 3, height * self.scale, width * self.scale)
            if not isinstance(sr, Tensor) or sr.shape != expected:
                raise UserError(f'{self.name} holds a network that does not enlarge faces {self.scale} times.')
            if not bool(torch.isfinite(sr).all()):
                raise UserError(
                    f'{self.name} makes values that are no finite numbers (NaN or infinite) of a face of '
                    f'{height}×{width}: nothing is made of it. Give another checkpoint.'
                )
            pixels = sr.float().clamp(0, 1).mul(255).round().byte()
            found |= zip(places, pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), strict=True)
        return [found[place] for place in range(len(faces))]

    def fit(self, face: Image) -> Image:
        """A face of any size as large as those the network was trained with: bicubic as MATLAB's ``imresize``.

        Raises:
            UserError: the size is not known.
        """
        size = self.known_size()
        if face.shape[:2] == size:
            return face
        return imresize_uint8(face, size)

    def of_size(self, size: tuple[int, int]) -> FaceNetwork:
        """The network for LR of another size than that it was trained with; points move along where the shape stays.

        Raises:
            UserError: as :func:`check_size`.
        """
        check_size(size)
        points = self.points
        if points is not None and self.size is not None:
            same = size[0] * self.size[1] == size[1] * self.size[0]
            points = scale_back(points, self.size, size) if same else None
        return replace(self, size=size, points=points, size_given=True)

    def known_size(self) -> tuple[int, int]:
        """``size``.

        Raises:
            UserError: the checkpoint does not say it.
        """
        if self.size is None:
            raise UserError(
                f'{self.name} does not say how large the faces were that it was trained with: give --size HEIGHT WIDTH.'
            )
        return self.size


def check_size(size: tuple[int, int]) -> None:
    """Refuses a size of LR that is none.

    Raises:
        UserError: a side is less than a pixel, or there are more pixels than any picture has.
    """
    if min(size) < 1:
        raise UserError(f'--size {size[0]} {size[1]}: height and width in pixels, at least 1.')
    if size[0] * size[1] > _LARGEST:
        raise UserError(f'--size {size[0]} {size[1]}: together at most {_LARGEST} pixels.')
