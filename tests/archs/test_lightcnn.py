"""The LightCNN-9 discriminator: parameters counted by hand, sizes, errors."""

from __future__ import annotations

import pytest
import torch

from fsr_plugins.archs.lightcnn import LightCNNDiscriminator, max_feature_map

# Convolutions to twice the channels, with bias: 5x5 3->48, then per group 1x1 c->c and 3x3 c->d.
FEATURES = (
    (3 * 25 + 1) * 96
    + (48 + 1) * 96 + (48 * 9 + 1) * 192
    + (96 + 1) * 192 + (96 * 9 + 1) * 384
    + (192 + 1) * 384 + (192 * 9 + 1) * 256
    + (128 + 1) * 256 + (128 * 9 + 1) * 256
)  # fmt: skip


@pytest.mark.parametrize(('size', 'side'), [(16, 1), (64, 4), (128, 8), (20, 2)])
def test_parameters_by_hand(size: int, side: int) -> None:
    net = LightCNNDiscriminator(input_size=size)
    fully_connected = (128 * side * side + 1) * 512 + 257
    assert sum(p.numel() for p in net.parameters()) == FEATURES + fully_connected


@pytest.mark.parametrize(('size', 'total'), [(16, 1_357_153), (64, 2_340_193), (128, 5_485_921)])
def test_parameters_in_figures(size: int, total: int) -> None:
    assert sum(p.numel() for p in LightCNNDiscriminator(input_size=size).parameters()) == total


@pytest.mark.parametrize('size', [16, 20, 33, 64])
def test_one_logit_an_image_at_any_size(size: int) -> None:
    net = LightCNNDiscriminator(input_size=size, channels=(4, 6, 8, 6, 6), num_fc=8)
    images = torch.rand(3, 3, size, size)
    logits = net(images)
    assert logits.shape == (3, 1)
    torch.testing.assert_close(logits[1:2], net(images[1:2]))  # an image's logit is its own


def test_max_feature_map_compares_channel_c_with_channel_c_plus_half() -> None:
    x = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    assert max_feature_map(x).tolist() == [[1.0, 3.0]]


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match='input_size=16 and got images of 16x20'):
        LightCNNDiscriminator(input_size=16)(torch.rand(1, 3, 16, 20))


def test_channels_must_name_five_widths() -> None:
    with pytest.raises(ValueError, match='five widths'):
        LightCNNDiscriminator(channels=(8, 8))
