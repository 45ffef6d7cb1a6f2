"""RetinaFace (Deng et al., CVPR 2020), facexlib's networks: boxes and five points at once."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from fsr_plugins import compat  # noqa: F401  before facexlib
from fsr_plugins.faces.batching import batches, to_tensor
from fsr_plugins.faces.overlap import best_of_each
from fsr_plugins.faces.protocol import Detection, Image, Images, Size, check_images
from fsr_plugins.faces.scaling import scale_back, scale_to

from facexlib.detection.retinaface import RetinaFace, generate_config  # isort: skip
from facexlib.detection.retinaface_utils import batched_decode, batched_decode_landm  # isort: skip

Backbone = Literal['resnet50', 'mobile0.25']
_BACKBONES: dict[str, Backbone] = {'Resnet50': 'resnet50', 'mobilenet0.25': 'mobile0.25'}

#: Of blue, green and red, which the networks were trained to have taken away.
_MEAN = (104.0, 117.0, 123.0)
#: Images that go through the network together, unless they are larger than 640×640.
_BATCH = 16


def network(backbone: Backbone) -> RetinaFace:
    """facexlib's network in evaluation mode on the CPU, with random weights."""
    with warnings.catch_warnings():
        # facexlib asks torchvision for an untrained ResNet in a way that is deprecated.
        warnings.filterwarnings('ignore', module='torchvision.models')
        net: RetinaFace = RetinaFace(network_name=backbone, device=torch.device('cpu'))
    return net.requires_grad_(False).eval()


@lru_cache(maxsize=16)
def anchors(backbone: Backbone, height: int, width: int) -> Tensor:
    """The anchors of an image: float32 (A, 4), centre x, y, width and height as shares of the image's size.

    The order is the network's: by level, row, column and size.
    """
    settings = generate_config(backbone)
    levels = []
    for step, sizes in zip(settings['steps'], settings['min_sizes'], strict=True):
        y, x, side = torch.meshgrid(
            torch.arange(-(-height // step), dtype=torch.float64),
            torch.arange(-(-width // step), dtype=torch.float64),
            torch.tensor(sizes, dtype=torch.float64),
            indexing='ij',
        )
        columns = [(x + 0.5) * step / width, (y + 0.5) * step / height, side / width, side / height]
        levels.append(torch.stack(columns, dim=-1).view(-1, 4))
    return torch.cat(levels).float()


class RetinaFaceDetector:
    """See :class:`~fsr_plugins.faces.protocol.Detector`.

    Args:
        net: :func:`network`, with weights, on its device.
        score: Faces below this score are left out; facexlib's value.
        overlap: Of two boxes whose intersection over union is above this the better is kept; facexlib's value.
        longest: An image whose longer side is greater is reduced to it beforehand, in pixels. The networks' largest
            anchor is 512, so that a face filling a photograph of many megapixels would not be found otherwise.
    """

    def __init__(self, net: RetinaFace, score: float = 0.8, overlap: float = 0.4, longest: int = 1280) -> None:
        self.net = net
        self.score = score
        self.overlap = overlap
        self.longest = longest

    def detect(self, images: Images) -> list[list[Detection]]:
        """See :meth:`Detector.detect`."""
        check_images(images)
        reduced = [scale_to(image, self.longest) for image in images]
        found: list[list[Detection]] = [[] for _ in images]
        for places, batch in batches(reduced, _BATCH, _BATCH * 640 * 640):
            boxes, scores, points = self._run(batch)
            for place, box, score, marks in zip(places, boxes, scores, points, strict=True):
                found[place] = self._kept(box, score, marks, batch.shape[1:3], images[place].shape[:2])
        return found

    @torch.inference_mode()
    def _run(self, batch: Image) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, A, 4), scores (N, A) and points (N, A, 10) of a batch on the CPU, places in pixels of the batch."""
        device = next(self.net.parameters()).device
        height, width = batch.shape[1:3]
        # Red, green, blue to the networks' order.
        inputs = to_tensor(batch, device).flip(1) - torch.tensor(_MEAN, device=device).view(3, 1, 1)
        offsets, classes, points = self.net(inputs)
        priors = anchors(_BACKBONES[self.net.backbone], height, width).to(device)[None]
        size = torch.tensor([width, height], dtype=torch.float32, device=device)
        boxes = batched_decode(offsets, priors, self.net.cfg['variance']) * size.repeat(2)
        places = batched_decode_landm(points, priors, self.net.cfg['variance']) * size.repeat(5)
        return boxes.cpu(), classes[:, :, 1].cpu(), places.cpu()

    def _kept(self, boxes: Tensor, scores: Tensor, points: Tensor, of: Size, to: Size) -> list[Detection]:
        """The good faces of one image, the best of each heap, moved from the reduced image to the original's pixels."""
        good = scores > self.score
        boxes, scores, points = boxes[good], scores[good], points[good]
        # In descending order of scores.
        kept = best_of_each(boxes.numpy(), scores.numpy(), self.overlap)
        corners = scale_back(boxes[kept].numpy().reshape(-1, 2, 2), of, to)
        marks = scale_back(points[kept].numpy().reshape(-1, 5, 2), of, to)
        return [
            Detection(box.ravel(), float(score), mark)
            for box, score, mark in zip(corners, scores[kept], marks, strict=True)
        ]
