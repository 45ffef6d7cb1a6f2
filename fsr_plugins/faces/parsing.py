"""Parsing networks of facexlib: BiSeNet and ParseNet, both trained on CelebAMask-HQ's 19 classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins import compat  # noqa: F401  before facexlib
from fsr_plugins.faces.batching import batches, to_tensor
from fsr_plugins.faces.parts import DATASET_ORDER, PARTS, to_parts
from fsr_plugins.faces.protocol import Image, Images, check_images

from facexlib.parsing.bisenet import BiSeNet  # isort: skip
from facexlib.parsing.parsenet import ParseNet  # isort: skip

#: Side at which both networks were trained and are asked.
SIDE = 512
#: Images that go through a network together, unless they are larger than its own size.
_BATCH = 8


class FaceParser:
    """A parsing network as :class:`~fsr_plugins.faces.protocol.Parser`; it has a map for every image.

    Images of another size are brought to 512×512 bilinearly, antialiased, and the classes' scores back to theirs, so
    that parts keep smooth edges. The whole image is taken for one aligned or cropped face.

    Args:
        net: Takes (N, 3, 512, 512) and gives scores (N, 19, 512, 512) first in a tuple, on its device.
        order: The parts' names in the order of its classes.
        mean: Of red, green and blue in [0, 1], taken away from the input.
        std: By which it is divided then.
    """

    def __init__(
        self,
        net: nn.Module,
        order: tuple[str, ...],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self.net = net
        self.order = torch.from_numpy(to_parts(order))
        self.mean = torch.tensor(mean).view(3, 1, 1) * 255
        self.std = torch.tensor(std).view(3, 1, 1) * 255

    @torch.inference_mode()
    def parse(self, images: Images) -> list[Image | None]:
        """See :meth:`Parser.parse`."""
        check_images(images)
        maps: list[Image | None] = [None] * len(images)
        device = next(self.net.parameters()).device
        for places, batch in batches(images, _BATCH, _BATCH * SIDE * SIDE):
            inputs = resize(to_tensor(batch, device), (SIDE, SIDE))
            scores = self.net((inputs - self.mean.to(device)) / self.std.to(device))[0]
            classes = resize(scores, (batch.shape[1], batch.shape[2])).argmax(dim=1)
            for place, parts in zip(places, self.order.to(device)[classes].cpu().numpy(), strict=True):
                maps[place] = parts
        return maps


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) to (N, C, *size) bilinearly, antialiased where it is reduced."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode='bilinear', antialias=True, align_corners=False)


def bisenet() -> FaceParser:
    """BiSeNet (Yu et al., ECCV 2018) with random weights on the CPU; its classes are those of :data:`PARTS`."""
    return FaceParser(frozen(BiSeNet(num_class=19)), PARTS, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def parsenet() -> FaceParser:
    """ParseNet (Chen et al., PSFRGAN, CVPR 2021) with random weights on the CPU."""
    net = ParseNet(in_size=SIDE, out_size=SIDE, parsing_ch=19)
    return FaceParser(frozen(net), DATASET_ORDER, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def frozen(net: nn.Module) -> nn.Module:
    """The network in evaluation mode, without gradients."""
    return net.requires_grad_(False).eval()
