"""The networks of ISR-KD: a generator of three modules with edge blocks, and a discriminator.

Devkatta et al., "Face to Cartoon Incremental Super-Resolution using Knowledge Distillation", Sec. III-C to III-E.

Widths and kernels on which the paper is silent are EIPNet's (Kim et al., Neurocomputing 2021), whose layout the paper's
is; the README of this method lists them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.edges import AvgPoolEdge
from fsr_plugins.registry import ARCH_REGISTRY

#: Kernels of the edge blocks, and by what their maps are smaller than the image, from the first module to the last.
EDGE_KERNELS = (5, 7, 10)
EDGE_SCALES = (4, 2, 1)


class GeneratorOutput(NamedTuple):
    """Everything that the losses look at.

    Attributes:
        sr: (N, 3, 8h, 8w), not clamped.
        edges: E_SR of the three modules, (N, 1, 2h, 2w), (N, 1, 4h, 4w) and (N, 1, 8h, 8w), not negative; an edge is 1.
        bottleneck: (N, num_feat, h, w), what the first module's residual block gives.
    """

    sr: Tensor
    edges: tuple[Tensor, Tensor, Tensor]
    bottleneck: Tensor


class EdgeBlock(nn.Module):
    """Features with their own edges beside them (Fig. 2): ``cat(x, s)`` with ``s = ReLU(x - avgpool(x))``.

    Args:
        num_feat: channels C of ``x``.
        kernel: side of the pooling's neighbourhood.
    """

    def __init__(self, num_feat: int, kernel: int) -> None:
        super().__init__()
        self.edge = AvgPoolEdge(kernel, relu=True)
        self.side = nn.Conv2d(num_feat, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to (N, 2C, H, W) and the edges alone, (N, C, H, W)."""
        edges = self.edge(x)
        return torch.cat([x, edges], dim=1), edges

    def edge_map(self, edges: Tensor) -> Tensor:
        """E_SR of the edges: (N, C, H, W) to (N, 1, H, W), not negative."""
        return self.side(edges).relu()


class Module(nn.Module):
    """One of the three modules: a residual block, a deconvolution that doubles the size, and an edge block.

    The residual block gives ``skip`` channels, and its skip takes the first ``skip`` channels of the input: all of them
    in the first module, in the others what the deconvolution before gave, without its edges.

    Args:
        num_in: channels of the input.
        skip: channels of the residual block's output.
        num_out: channels after the deconvolution; the edge block doubles them.
        kernel: of the edge block.
    """

    def __init__(self, num_in: int, skip: int, num_out: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_in, 3, padding=1)
        self.conv2 = nn.Conv2d(num_in, skip, 3, padding=1)
        self.up = nn.ConvTranspose2d(skip, num_out, 4, stride=2, padding=1)
        self.edge = EdgeBlock(num_out, kernel)

    def residual(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, skip, H, W)."""
        residual = self.conv2(self.conv1(x).relu()).relu()
        return x[:, : residual.shape[1]] + residual

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The output (N, 2 num_out, 2H, 2W), its edges (N, num_out, 2H, 2W) and the residual block's output."""
        feature = self.residual(x)
        output, edges = self.edge(self.up(feature).relu())
        return output, edges, feature


@ARCH_REGISTRY.register()
class ISRKDGenerator(nn.Module):
    """The FSR generator (Sec. III-D, Fig. 1): pretrained as G_S, incrementally trained as G_T; always x8.

    A 3x3 convolution, three modules that double the size each, and a 1x1 convolution to the image; no normalisation.

    Args:
        num_in_ch: image channels, 3 (RGB).
        num_feat: channels of the first module, a multiple of 8; the paper's size is 512.
        extended: six 3x3 convolutions after the image, as in the extended network of Table V.
        extension_feat: their width.
        extension_skip: whether they add to the image instead of replacing it.

    Shape: (N, 3, h, w) RGB in [0, 1] to (N, 3, 8h, 8w), not clamped.

    Raises:
        ValueError: ``num_feat`` is not a multiple of 8.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 512,
        extended: bool = False,
        extension_feat: int = 64,
        extension_skip: bool = False,
    ) -> None:
        super().__init__()
        if num_feat < 8 or num_feat % 8:
            raise ValueError(f'num_feat is halved three times and must be a multiple of 8, not {num_feat}.')
        c = num_feat
        self.head = nn.Conv2d(num_in_ch, c, 3, padding=1)
        self.module1 = Module(c, c, c // 2, EDGE_KERNELS[0])
        self.module2 = Module(c, c // 2, c // 4, EDGE_KERNELS[1])
        self.module3 = Module(c // 2, c // 4, c // 8, EDGE_KERNELS[2])
        self.tail = nn.Conv2d(c // 4, num_in_ch, 1)
        self.extension = _extension(num_in_ch, extension_feat) if extended else None
        self.extension_skip = extension_skip
        self.apply(_initialise)

    def forward(self, lq: Tensor, details: bool = False) -> Tensor | GeneratorOutput:
        """The image, or with ``details`` also the edge maps of the three modules and the bottleneck feature."""
        feature, edges1, bottleneck = self.module1(self.head(lq))
        feature, edges2, _ = self.module2(feature)
        feature, edges3, _ = self.module3(feature)
        sr = self.tail(feature)
        if self.extension is not None:
            extended = self.extension(sr)
            sr = sr + extended if self.extension_skip else extended
        if not details:
            return sr
        maps = (
            self.module1.edge.edge_map(edges1),
            self.module2.edge.edge_map(edges2),
            self.module3.edge.edge_map(edges3),
        )
        return GeneratorOutput(sr, maps, bottleneck)


def _extension(num_in_ch: int, num_feat: int) -> nn.Sequential:
    """Table V: six 3x3 convolutions that keep the size, ReLU between them; the widths are not stated."""
    widths = [num_in_ch, *[num_feat] * 5, num_in_ch]
    layers: list[nn.Module] = []
    for num_in, num_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(num_in, num_out, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _initialise(module: nn.Module) -> None:
    """Glorot's uniform weights and no bias, TensorFlow's default; in a module such that images pass from the start.

    A module begins as nearly bilinear enlargement of mixed channels: its deconvolution has bilinear kernels (Long et
    al., CVPR 2015), its residual a tenth of He et al.'s weights. The generator has no skip from its input and learns
    colours late otherwise.
    """
    if isinstance(module, Module):
        nn.init.kaiming_normal_(module.conv1.weight)
        nn.init.kaiming_normal_(module.conv2.weight)
        line = (0.25, 0.75, 0.75, 0.25)
        num_in, num_out = module.up.weight.shape[:2]
        with torch.no_grad():
            module.conv2.weight.mul_(0.1)
            mixing = nn.init.normal_(torch.empty(num_in, num_out, 1, 1), std=(2 / num_in) ** 0.5)
            module.up.weight.copy_(mixing).mul_(torch.tensor([[row * column for column in line] for row in line]))
    if isinstance(module, EdgeBlock):  # comes after its own convolution
        # Of edges, which are not negative, weights of both signs can make a map that is zero everywhere. Its ReLU would
        # let no gradient through, ever.
        with torch.no_grad():
            module.side.weight.abs_()
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


@ARCH_REGISTRY.register()
class ISRKDDiscriminator(nn.Module):
    """The discriminator (Sec. III-E, Fig. 3): seven 3x3 convolutions and two linear layers to a real/fake logit.

    Convolutions of num_feat times 1, 1, 2, 2, 2, 4, 4 channels; the second, fourth and sixth halve the size. LeakyReLU
    0.2 after the first six and after the first linear layer.

    Args:
        num_in_ch: image channels.
        input_size: height and width of the images in pixels.
        num_feat: channels of the first convolution.
        num_fc: width of the hidden linear layer.
        d_padding: of the convolutions that halve: ``valid`` (none: 128, 63, 31, 15 pixels a side) or ``same``
            (TensorFlow's, one more pixel at the right and below: 128, 64, 32, 16).

    Shape: (N, num_in_ch, input_size, input_size) float RGB in [0, 1] to (N, 1) logits.

    Raises:
        ValueError: another ``d_padding``, or an ``input_size`` of which nothing would be left.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        input_size: int = 128,
        num_feat: int = 128,
        num_fc: int = 512,
        d_padding: Literal['valid', 'same'] = 'valid',
    ) -> None:
        super().__init__()
        if d_padding not in ('valid', 'same'):
            raise ValueError(f"d_padding must be 'valid' or 'same', not '{d_padding}'.")
        side = input_size
        for _ in range(3):
            side = (side - 1) // 2 if d_padding == 'valid' else (side + 1) // 2
        if side < 1:
            raise ValueError(f'ISRKDDiscriminator needs images of 15 pixels and more, not of input_size={input_size}.')
        self.input_size = input_size
        self.d_padding = d_padding
        widths = [num_in_ch, *(num_feat * times for times in (1, 1, 2, 2, 2, 4, 4))]
        self.convs = nn.ModuleList(
            nn.Conv2d(num_in, num_out, 3, stride=2 if place % 2 else 1, padding=0 if place % 2 else 1)
            for place, (num_in, num_out) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        )
        self.fc = nn.Linear(widths[-1] * side * side, num_fc)
        self.logit = nn.Linear(num_fc, 1)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in_ch, input_size, input_size) to (N, 1).

        Raises:
            ValueError: the images are of another size than the network was built for.
        """
        if x.shape[2] != self.input_size or x.shape[3] != self.input_size:
            raise ValueError(
                f'ISRKDDiscriminator was built with input_size={self.input_size} and got images of '
                f'{x.shape[2]}x{x.shape[3]} (height x width); set input_size to the size it sees.'
            )
        *halved, last = self.convs
        for place, conv in enumerate(halved):
            if self.d_padding == 'same' and place % 2:
                # TensorFlow's SAME of a 3x3 kernel at stride 2: nothing before and one after an even side, one and one
                # around an odd one.
                before = x.shape[2] % 2
                x = F.pad(x, (before, 1, before, 1))
            x = F.leaky_relu(conv(x), 0.2)
        return self.logit(F.leaky_relu(self.fc(last(x).flatten(1)), 0.2))
