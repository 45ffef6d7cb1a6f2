"""TSNet's networks: parameters counted by hand from the layer table, what each iteration sees, export."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.methods.tsnet import archs
from fsr_plugins.methods.tsnet.archs import TSNetDown, TSNetSR


def small(**options: Any) -> TSNetSR:
    torch.manual_seed(0)
    return TSNetSR(**{'num_feat': 6, 'num_groups': 2, 'feedback_factor': 2, **options})


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def layer(num_in: int, num_out: int, kernel: int) -> int:
    """Weights, biases and the PReLU's one slope; the same for a deconvolution."""
    return num_in * num_out * kernel**2 + num_out + 1


def count_sr(c: int, g: int, feedback_kernel: int) -> int:
    """From the layer table, scale 4 with priors none, Canny, DoG."""
    transitions = sum(layer(k * c, c, 1) for k in range(2, g + 1))
    feedback = 2 * g * layer(c, c, feedback_kernel) + 2 * transitions + layer(g * c, c, 1)
    fusion = layer(c, c, 1) + 2 * layer(2 * c + 4, c, 1) + layer(c, c, 3)
    reconstruction = layer(c, c, 6) + (c * 3 * 9 + 3)
    return layer(3, 4 * c, 3) + fusion + feedback + reconstruction


def test_parameters_of_tnet_and_snet() -> None:
    assert parameters(TSNetSR()) == count_sr(48, 6, feedback_kernel=8) == 1_999_088
    assert parameters(small()) == count_sr(6, 2, feedback_kernel=6)


def test_parameters_of_denet_and_dsnet() -> None:
    blocks = 16 * (layer(64, 64, 3) + (64 * 64 * 9 + 64))
    by_hand = layer(3, 64, 3) + blocks + 2 * layer(64, 64, 3) + (64 * 3 * 9 + 3)
    assert parameters(TSNetDown()) == by_hand == 1_259_094


@pytest.mark.parametrize('scale', [2, 4, 8])
@pytest.mark.parametrize('canny', ['cv2', 'device'])
def test_three_images_at_every_scale(scale: int, canny: str) -> None:
    net = small(scale=scale, canny=canny)
    lq = torch.rand(2, 3, 16, 12)
    images = net(lq, all_iterations=True)
    assert [tuple(image.shape) for image in images] == [(2, 3, 16 * scale, 12 * scale)] * 3
    torch.testing.assert_close(net(lq), images[-1])


@pytest.mark.parametrize('scale', [2, 4, 8])
def test_down_network_divides_the_size(scale: int) -> None:
    lq = TSNetDown(num_feat=4, num_block=1, scale=scale)(torch.rand(1, 3, 32, 48))
    assert lq.shape == (1, 3, 32 // scale, 48 // scale)
    assert lq.min() > 0 and lq.max() < 1


def test_an_image_does_not_depend_on_its_batch() -> None:
    net, lq = small(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(lq)[1:2], net(lq[1:2]), rtol=1e-4, atol=1e-5)


def test_with_zero_residual_the_image_is_the_bilinear_enlargement() -> None:
    net, lq = small(), torch.rand(1, 3, 16, 16)
    nn.init.zeros_(net.recb[1].weight)
    nn.init.zeros_(net.recb[1].bias)
    enlarged = F.interpolate(lq, size=(64, 64), mode='bilinear', align_corners=False)
    for image in net(lq, all_iterations=True):
        torch.testing.assert_close(image, enlarged)


def test_gradients_reach_every_parameter_through_all_iterations() -> None:
    net = small()
    images = net(torch.rand(1, 3, 16, 16), all_iterations=True)
    images[-1].square().mean().backward()  # the first iteration's own fusion is reached through the hidden state alone
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_gradients_reach_every_parameter_of_the_down_network() -> None:
    net = TSNetDown(num_feat=4, num_block=2)
    net(torch.rand(1, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_first_iteration_ignores_priors_and_each_later_one_sees_its_own() -> None:
    net, lq = small(), torch.rand(1, 3, 16, 16)
    before = net(lq, all_iterations=True)
    with torch.no_grad():
        net.perb.fuse_prior['canny'][0].weight.add_(0.1)
    after = net(lq, all_iterations=True)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert not torch.allclose(after[1], before[1])

    with torch.no_grad():
        net.perb.fuse_prior['dog'][0].weight.add_(0.1)
    last = net(lq, all_iterations=True)
    torch.testing.assert_close(last[1], after[1], rtol=0, atol=0)
    assert not torch.allclose(last[2], after[2])


def test_priors_come_detached_from_the_clamped_image_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Tensor] = {}

    def spy(name: str) -> Any:
        def detector(image: Tensor, *_: float) -> Tensor:
            seen[name] = image
            return image[:, :1]

        return detector

    monkeypatch.setattr(archs, 'canny_cv2', spy('canny'))
    monkeypatch.setattr(archs, 'dog', spy('dog'))
    net = small()
    images = net(4 * torch.rand(1, 3, 16, 16) - 2, all_iterations=True)
    for name, image in zip(('canny', 'dog'), images[:2], strict=True):
        assert not seen[name].requires_grad
        torch.testing.assert_close(seen[name], image.detach().clamp(0, 1))


def test_prior_maps_are_folded_to_the_grid_of_the_features() -> None:
    image = torch.rand(2, 3, 64, 64)
    [edges] = small().edges('dog', image)
    full = archs.dog(image, 1.0, 1.6)
    assert edges.shape == (2, 4, 32, 32)
    for row in range(2):
        for column in range(2):
            torch.testing.assert_close(edges[:, 2 * row + column], full[:, 0, row::2, column::2])


@pytest.mark.parametrize('priors', [['none'] * 3, ['none', 'canny', 'none'], ['none', 'dog', 'dog', 'canny'], ['none']])
def test_priors_are_a_switch_per_iteration(priors: list[str]) -> None:
    net = small(priors=priors)
    assert len(net(torch.rand(1, 3, 8, 8), all_iterations=True)) == len(priors)
    assert set(net.perb.fuse_prior) == set(priors[1:])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'scale': 3}, 'not 3'),
        ({'priors': ['canny', 'dog']}, "'none' for the first"),
        ({'priors': ['none', 'sobel']}, 'sobel'),
        ({'canny': 'gpu'}, 'gpu'),
        ({'feedback_factor': 3}, 'not 3'),
        ({'canny_thresholds': [50]}, r'canny_thresholds must be .*, not \[50\]'),
        ({'canny_thresholds': [200, 50]}, r'not \[200, 50\]'),
        ({'dog_sigmas': [1.0]}, r'dog_sigmas must be two .*, not \[1.0\]'),
        ({'dog_sigmas': [1.0, 1.6, 2.0]}, '2.0'),
        ({'dog_sigmas': [0.0, 1.6]}, 'above 0'),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_a_reduction_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match='not by 3'):
        TSNetDown(scale=3)


@pytest.mark.parametrize(
    'make', [lambda: small(priors=['none', 'dog', 'none']), lambda: TSNetDown(num_feat=4, num_block=1)]
)
def test_traced_network_gives_the_same_on_a_batch_of_one(make: Any) -> None:
    net = make().eval()
    example, other = torch.rand(2, 1, 3, 16, 16)
    traced = torch.jit.trace(net, example)
    torch.testing.assert_close(traced(other), net(other))
