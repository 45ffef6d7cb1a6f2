"""The blocks of DAP-FSR's encoder: what aligns a feature map, what makes maps of several scales one, what reads a w.

Li et al., "Super-Resolving Cross-Domain Face Miniatures by Peeking at One-Shot Exemplar", Sec. 4.1 and Fig. 2. The
paper gives no sizes; those here are this toolkit's choice, see the README of this method.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.attention import check_reduction

#: Of the usual deviation in the layers that give E: small, so that training begins about the mean of w.
_SMALL = 0.1


def small_linear(num_in: int, num_out: int) -> nn.Linear:
    """A linear layer that gives nearly zero before training."""
    layer = nn.Linear(num_in, num_out)
    nn.init.normal_(layer.weight, std=_SMALL / num_in**0.5)
    nn.init.zeros_(layer.bias)
    return layer


class ISTN(nn.Module):
    """Instance spatial transformer network (Fig. 2c): moves a feature map to the canonical place by an affine map.

    ::

        localisation    instance norm; 2 x (conv 5x5, ReLU, max-pool by 2); mean over 4x4 fields; FC, ReLU, FC to 6

    The movement is read from the map after instance normalisation without learned scales, so it does not change when a
    channel is scaled (by more than zero) or shifted; what is moved is the map as it came. Before training nothing is
    moved. Beyond its border a map is zero.

    On a GPU the gradient of the sampling is summed in no fixed order: a stage that is ``deterministic`` fails there.

    Args:
        num_feat: channels C of the map.
        num_hidden: channels of the localisation's convolutions.
        num_fc: width of its hidden layer.

    Shape: (N, C, H, W) of 8x8 or more to the same.
    """

    def __init__(self, num_feat: int, num_hidden: int = 32, num_fc: int = 64) -> None:
        super().__init__()
        fields = 4
        self.localise = nn.Sequential(
            nn.InstanceNorm2d(num_feat),
            nn.Conv2d(num_feat, num_hidden, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(num_hidden, num_hidden, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(fields),
        )
        self.regress = nn.Sequential(nn.Flatten(), nn.Linear(num_hidden * fields**2, num_fc), nn.ReLU())
        self.to_theta = nn.Linear(num_fc, 6)
        nn.init.zeros_(self.to_theta.weight)
        self.to_theta.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def theta(self, x: Tensor) -> Tensor:
        """Where each point (x, y, 1) of the result is taken from, both in coordinates of [-1, 1], x right and y down.

        Returns:
            (N, 2, 3), float32 also under autocast: in bfloat16 a place would be as coarse as half a percent of a side.
        """
        found = self.localise(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.to_theta(self.regress(found.to(self.to_theta.weight.dtype))).view(-1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The map, moved; of the type of ``x``."""
        theta = self.theta(x)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x.to(grid.dtype), grid, mode='bilinear', align_corners=False).to(x.dtype)


class PyramidContext(nn.Module):
    """Maps of several scales as one (Fig. 2a): each by a 1x1 convolution to C channels, enlarged, and concatenated.

    Args:
        channels: of the maps, the largest map first.
        num_feat: channels C that each becomes.

    Shape: maps (N, channels[i], h_i, w_i) to (N, len(channels) C, h_0, w_0); smaller maps are enlarged bilinearly.
    """

    def __init__(self, channels: Sequence[int], num_feat: int = 256) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(each, num_feat, 1) for each in channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See the class."""
        first, *others = (lateral(each) for lateral, each in zip(self.lateral, maps, strict=True))
        size = first.shape[2:]
        enlarged = [F.interpolate(each, size=size, mode='bilinear', align_corners=False) for each in others]
        return torch.cat([first, *enlarged], dim=1)


class ALE(nn.Module):
    """Adaptive latent encoding (Fig. 2d): one latent from the channels of the context that matter for its layer.

    ::

        gate      mean over the map; FC to num_in / reduction, ReLU, FC to num_in, sigmoid
        latent    gate * context; conv 3x3, leaky ReLU 0.2; mean over the map; FC

    Args:
        num_in: channels of the context.
        num_out: channels of the latent.
        reduction: of the gate.

    Shape: (N, num_in, H, W) to (N, num_out), about zero before training.

    Raises:
        ValueError: ``reduction`` leaves no channel.
    """

    def __init__(self, num_in: int = 1024, num_out: int = 512, reduction: int = 16) -> None:
        super().__init__()
        hidden = check_reduction(num_in, reduction)
        self.gate = nn.Sequential(nn.Linear(num_in, hidden), nn.ReLU(), nn.Linear(hidden, num_in), nn.Sigmoid())
        self.conv = nn.Conv2d(num_in, num_out, 3, padding=1)
        self.latent = small_linear(num_out, num_out)

    def forward(self, context: Tensor) -> Tensor:
        """See the class."""
        weight = self.gate(context.mean(dim=(2, 3)))
        found = F.leaky_relu(self.conv(context * weight[:, :, None, None]), 0.2)
        return self.latent(found.mean(dim=(2, 3)))


class PyramidHead(nn.Module):
    """E of maps of several scales: their context, and an ALE for each latent (Table 2, configuration A).

    One ALE after the other: their gates differ, so the convolutions have no input in common, and as one grouped
    convolution they are a quarter slower on a CPU.

    Args:
        channels: of the maps, the largest map first.
        num_latent: latents l.
        num_style_feat: channels d of each.
        num_feat: channels that each map has in the context.

    Shape: maps (N, channels[i], h_i, w_i) to (N, l, d).
    """

    def __init__(self, channels: Sequence[int], num_latent: int, num_style_feat: int, num_feat: int) -> None:
        super().__init__()
        self.context = PyramidContext(channels, num_feat)
        self.ales = nn.ModuleList(ALE(len(channels) * num_feat, num_style_feat) for _ in range(num_latent))

    def last_layers(self) -> list[nn.Linear]:
        """The last layer of each ALE."""
        return [ale.latent for ale in self.ales if isinstance(ale, ALE)]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See the class."""
        context = self.context(maps)
        return torch.stack([ale(context) for ale in self.ales], dim=1)


class PooledHead(nn.Module):
    """E of the end of the backbone alone, the baseline of Table 2: all latents by one layer from the last map's mean.

    Args:
        channels, num_latent, num_style_feat: see :class:`PyramidHead`.

    Shape: as :class:`PyramidHead`.
    """

    def __init__(self, channels: Sequence[int], num_latent: int, num_style_feat: int) -> None:
        super().__init__()
        self.num_latent = num_latent
        self.latents = small_linear(channels[-1], num_latent * num_style_feat)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """See the class."""
        return self.latents(maps[-1].flatten(1)).unflatten(1, (self.num_latent, -1))
