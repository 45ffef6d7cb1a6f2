"""What every face recogniser has in common: images of any size in, embeddings out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.checkpoints import AVERAGED_FIRST, construct, fit, load_state, meta_in, state_in, unwrapped
from fsr_plugins.errors import UserError
from fsr_plugins.values import Record
from fsr_plugins.weights import WeightFile, locate

if TYPE_CHECKING:
    from typing_extensions import Self

Adapt = Literal['resize', 'centercrop', 'inner']
ADAPT = ('resize', 'centercrop', 'inner')
#: How much of an image ``inner`` keeps, of either side.
_INNER = 5 / 8


def _middle(images: Tensor, height: int, width: int) -> Tensor:
    """The middle of images (N, C, H, W) that are at least as large."""
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


class Recogniser(nn.Module):
    """A network from faces to embeddings that adapts images to the input it was trained on; differentiable.

    A subclass declares that input and implements :meth:`embed`. Parameter names are those of the published files.

    Attributes:
        face_size: height and width in pixels of the network's input.
        embedding_size: D, the length of an embedding.
        mean, std: the network sees ``(x - mean) / std`` of ``x`` in [0, 1].
        channel_order: ``'rgb'`` or ``'bgr'``, the order the network was trained on.
        published: the weights somebody publishes as a file that can be fetched and checked, if any.
        source: where else weights come from; completes "give the local file of …".
        face_points: where eyes, nose and mouth lie in the network's input, five (x, y) in pixels, in the order of
            landmarks; None: where they lie in the faces that SphereFace and its successors are trained on.
        heads: beginnings of the keys in published files that belong to a classifier on top and are left out.
    """

    face_size: ClassVar[tuple[int, int]]
    embedding_size: ClassVar[int]
    mean: ClassVar[float] = 0.5
    std: ClassVar[float] = 0.5
    channel_order: ClassVar[Literal['rgb', 'bgr']] = 'rgb'
    published: ClassVar[WeightFile | None] = None
    source: ClassVar[str] = 'a state dict of this network'
    face_points: ClassVar[tuple[tuple[float, float], ...] | None] = None
    heads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, adapt: Adapt = 'resize') -> None:
        """
        Args:
            adapt: how an image becomes ``face_size``: ``'resize'`` scales the whole image (antialiased bilinear; the
                aspect ratio becomes the network's), ``'centercrop'`` cuts the middle out without scaling, ``'inner'``
                cuts out a middle of the network's aspect ratio, five eighths as large as would fit, and scales that.

        Raises:
            UserError: another ``adapt``.
        """
        super().__init__()
        if adapt not in ADAPT:
            raise UserError(f"'adapt' of {type(self).__name__} is '{adapt}': choose one of {', '.join(ADAPT)}.")
        self.adapt = adapt
        self.frozen = False

    @abstractmethod
    def embed(self, faces: Tensor) -> Tensor:
        """(N, 3, *face_size) in the network's own range and channel order to (N, D)."""

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of images.

        Args:
            images: (N, 3, H, W) RGB float, in [0, 1] (values beyond are not clipped).

        Returns:
            (N, D).

        Raises:
            ValueError: other than three channels, or ``centercrop`` of an image smaller than the network's input.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f'{type(self).__name__} takes (N, 3, H, W); this tensor has {tuple(images.shape)}.')
        return self.embed(self.prepare(images))

    def prepare(self, images: Tensor) -> Tensor:
        """RGB images in [0, 1] of any size to what :meth:`embed` takes; see :meth:`forward`."""
        faces = self._to_face_size(images)
        if self.channel_order == 'bgr':
            faces = faces.flip(1)
        return self.normalise(faces)

    def normalise(self, faces: Tensor) -> Tensor:
        """Faces (N, 3, *face_size) in [0, 1] to the range that the network was trained on."""
        return (faces - self.mean) / self.std

    def _to_face_size(self, images: Tensor) -> Tensor:
        height, width = self.face_size
        if images.shape[2:] == (height, width) and self.adapt != 'inner':
            return images
        if self.adapt == 'inner':
            fit = _INNER * min(images.shape[2] / height, images.shape[3] / width)
            images = _middle(images, max(1, round(height * fit)), max(1, round(width * fit)))
        if self.adapt in ('resize', 'inner'):
            return F.interpolate(images, (height, width), mode='bilinear', antialias=True, align_corners=False)
        if images.shape[2] < height or images.shape[3] < width:
            raise ValueError(
                f'{type(self).__name__} cannot cut {height}x{width} (height x width) out of images of '
                f"{images.shape[2]}x{images.shape[3]}: use 'adapt: resize'."
            )
        return _middle(images, height, width)

    def freeze(self) -> Self:
        """Evaluation mode without gradients of the weights, for good: :meth:`train` changes nothing from now on."""
        self.frozen = True
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module``'s, unless the network is frozen."""
        return super().train(mode and not self.frozen)

    @classmethod
    def weight(cls, path: str | None = None) -> WeightFile:
        """The weight file that :meth:`pretrained` loads; nothing is fetched.

        Raises:
            UserError: no ``path`` for a network whose weights cannot be fetched.
        """
        if cls.published is not None:
            return replace(cls.published, path=path)
        if path is None:
            raise UserError(f"{cls.__name__}'s weights cannot be fetched: give 'path', a local file with {cls.source}.")
        return WeightFile(cls.__name__, '', '', '', path=path)

    @classmethod
    def pretrained(cls, path: str | None = None, adapt: Adapt | None = None) -> Recogniser:
        """The frozen network with weights; a checkpoint of this toolkit also says with what arguments to build it.

        Args:
            path: a local file; None looks for the published file and fetches it.
            adapt: see :class:`Recogniser`; None: as the file says, else ``'resize'``.

        Raises:
            UserError: another ``adapt``; weights that are absent, or of another network.
        """
        file = locate(cls.weight(path))
        checkpoint, source = load_state(file), f"'{file}'"
        meta = meta_in(checkpoint, source)
        block: Record = {'type': cls.__name__} if meta is None else dict(meta['arch'])
        if block['type'] != cls.__name__:
            raise UserError(
                f'{source} holds a network of type {block["type"]}, not {cls.__name__}: give another file or type.'
            )
        if adapt is not None:
            block['adapt'] = adapt
        factory: Callable[..., Recogniser] = cls
        arguments = {key: value for key, value in block.items() if key != 'type'}
        net = construct(lambda: factory(**arguments), state_in(checkpoint, source, AVERAGED_FIRST), block, source)
        assert isinstance(net, cls)
        net.load_published(checkpoint, source)
        return net.freeze()

    def load_published(self, checkpoint: object, source: str = 'the checkpoint') -> None:
        """Loads a state dict, also one inside a checkpoint of a known layout; a classifier's part is left out.

        Args:
            source: how messages call the checkpoint.

        Raises:
            UserError: there is no state dict, or its names or shapes are not this network's.
        """
        state = unwrapped(state_in(checkpoint, source, AVERAGED_FIRST), self.state_dict().keys())
        backbone = {key: value for key, value in state.items() if not key.startswith(self.heads)}
        fit(self, backbone, source, instead=f'Give {self.source}, or the type whose weights these are.')
