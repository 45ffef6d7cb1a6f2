"""Parsing networks: what surrounds them by networks whose answer is known, and facexlib's own by shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.faces.parsing import FaceParser, bisenet, parsenet
from fsr_plugins.faces.parts import DATASET_ORDER, PARTS

HALF = (0.5, 0.5, 0.5)


class ByRed(nn.Module):
    """Sure of class 2 where red is above the middle, of class 17 elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        self.seen.append(x)
        scores = torch.zeros(x.shape[0], 19, *x.shape[2:])
        scores[:, 2], scores[:, 17] = x[:, 0], -x[:, 0]
        return scores, None


def half_red(height: int, width: int, edge: int) -> np.ndarray:
    """Red from the column ``edge`` on, and blue everywhere."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, edge:, 0] = image[:, :, 2] = 255
    return image


@pytest.mark.parametrize(('order', 'ids'), [(DATASET_ORDER, (10, 14)), (PARTS, (2, 17))])
@pytest.mark.parametrize(('height', 'width', 'edge'), [(512, 512, 100), (128, 128, 40), (700, 900, 450), (100, 60, 13)])
def test_parts_lie_where_they_were(
    order: tuple[str, ...], ids: tuple[int, int], height: int, width: int, edge: int
) -> None:
    parts = FaceParser(ByRed(), order, HALF, HALF).parse([half_red(height, width, edge)])[0]
    assert parts.shape == (height, width) and parts.dtype == np.uint8
    wanted = np.where(np.arange(width) >= edge, *ids)
    # Enlarged and reduced, an edge may move by a pixel where sizes are odd multiples.
    wrong = np.abs(np.flatnonzero((parts != wanted).any(axis=0)) - edge)
    assert (wrong <= 1).all()


def test_network_sees_red_first_in_its_own_range() -> None:
    net = ByRed()
    FaceParser(net, PARTS, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).parse([half_red(64, 64, 0)])
    seen = net.seen[0]
    assert seen.shape == (1, 3, 512, 512)
    wanted = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(seen.mean(dim=(0, 2, 3)), torch.tensor(wanted), atol=1e-4, rtol=0)


def test_images_of_many_sizes_keep_their_order() -> None:
    edges = [(64, 20), (96, 50), (64, 40), (96, 10)] * 5
    parser = FaceParser(ByRed(), PARTS, HALF, HALF)
    for (side, edge), parts in zip(
        edges, parser.parse([half_red(side, side, edge) for side, edge in edges]), strict=True
    ):
        assert parts.shape == (side, side)
        assert abs(int((parts[0] == 17).sum()) - edge) <= 1


def test_facexlibs_network_gives_parts() -> None:
    torch.manual_seed(0)
    parser = bisenet()
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 80, 3), dtype=np.uint8)
    first, second = parser.parse(images)
    assert first.shape == second.shape == (96, 80) and max(first.max(), second.max()) < 19
    np.testing.assert_array_equal(parser.parse(images[1:])[0], second)


@pytest.mark.slow
def test_parsenet_gives_parts() -> None:
    torch.manual_seed(0)
    parts = parsenet().parse([np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)])[0]
    assert parts.shape == (64, 48) and parts.max() < 19
