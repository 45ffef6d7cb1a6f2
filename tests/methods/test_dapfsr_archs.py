"""DAP-FSR's networks: parameters counted by hand, blocks against their formulas, learned alignment, switches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fsr_plugins
from fsr_plugins.archs.stylegan2 import StyleGAN2Decoder
from fsr_plugins.engine.blocks import check_block
from fsr_plugins.engine.problems import Problems
from fsr_plugins.errors import UserError
from fsr_plugins.methods.dapfsr.archs import DAPFSR, DAPEncoder
from fsr_plugins.methods.dapfsr.blocks import ALE, ISTN, PyramidContext
from fsr_plugins.models.networks import build_network
from fsr_plugins.models.saving import save_network

import torchvision  # isort: skip  after the mends
from torchvision.models.feature_extraction import create_feature_extractor  # isort: skip
from basicsr.utils.matlab_functions import imresize as basicsr_imresize  # isort: skip

SMALL = {
    'type': 'DAPEncoder', 'size': 64, 'num_latent': 4, 'num_style_feat': 16, 'backbone': 'resnet18', 'num_feat': 8,
}  # fmt: skip
DECODER = {'type': 'StyleGAN2Decoder', 'size': 8, 'num_style_feat': 16, 'num_mlp': 2, 'narrow': 0.0625}

#: Parameters of torchvision's networks as its documentation publishes them, the classifiers' 1000 classes taken off.
PUBLISHED = {
    'resnet18': 11_689_512 - 513_000,
    'resnet34': 21_797_672 - 513_000,
    'resnet50': 25_557_032 - 2_049_000,
}


def encoder(**options: Any) -> DAPEncoder:
    torch.manual_seed(0)
    return DAPEncoder(**{key: value for key, value in {**SMALL, **options}.items() if key != 'type'})


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def conv(num_in: int, num_out: int, kernel: int = 1) -> int:
    """Weights and biases; of a fully connected layer with a kernel of 1."""
    return num_in * num_out * kernel**2 + num_out


def istn(c: int) -> int:
    return conv(c, 32, 5) + conv(32, 32, 5) + conv(32 * 16, 64) + conv(64, 6)


def ale(num_in: int, num_out: int) -> int:
    return conv(num_in, num_in // 16) + conv(num_in // 16, num_in) + conv(num_in, num_out, 3) + conv(num_out, num_out)


@pytest.mark.parametrize(
    ('backbone', 'channels'),
    [('resnet50', (256, 512, 1024, 2048)), ('resnet34', (64, 128, 256, 512)), ('resnet18', (64, 128, 256, 512))],
)
def test_parameters(backbone: str, channels: tuple[int, int, int, int]) -> None:
    c2, c3, c4, c5 = channels
    istns = istn(3) + istn(c2) + istn(c3)
    context = conv(c3, 256) + conv(c4, 256) + 2 * conv(c5, 256)
    with torch.device('meta'):
        whole, plain = DAPEncoder(backbone=backbone), DAPEncoder(backbone=backbone, multi_scale=False, use_istn=False)
    assert parameters(whole) == PUBLISHED[backbone] + istns + context + 12 * ale(1024, 512)
    assert parameters(plain) == PUBLISHED[backbone] + conv(c5, 12 * 512)


def test_parameters_at_the_paper_s_size() -> None:
    with torch.device('meta'):
        net, large = DAPEncoder(), DAPEncoder(num_latent=18)
    assert parameters(net) == 87_111_346
    assert parameters(net.head.ales) == 12 * ale(1024, 512) == 61_367_040
    assert parameters(net.backbone.istns) == 793_458
    assert parameters(large) - parameters(net) == 6 * ale(1024, 512)


def test_an_istn_moves_nothing_before_training() -> None:
    net, x = ISTN(5), torch.randn(2, 5, 16, 24)
    assert torch.equal(net.theta(x), torch.eye(2, 3).expand(2, 2, 3))
    torch.testing.assert_close(net(x), x, rtol=0, atol=1e-5)


def restless(net: nn.Module) -> Any:
    """The network with ISTNs that move, as after training."""
    for each in net.modules():
        if isinstance(each, ISTN):
            nn.init.normal_(each.to_theta.weight, std=0.1)
    return net


@pytest.mark.parametrize('size', [(8, 8), (9, 13), (16, 16), (128, 96)])
def test_an_istn_takes_maps_of_any_size(size: tuple[int, int]) -> None:
    net, x = restless(ISTN(4)), torch.randn(2, 4, *size)
    assert net.theta(x).shape == (2, 2, 3)
    assert net(x).shape == x.shape
    assert not torch.allclose(net(x), x, atol=0.1)


def test_style_does_not_change_what_an_istn_does() -> None:
    net, x = restless(ISTN(6)), torch.randn(2, 6, 16, 16)
    gain, shift = torch.rand(2, 6, 1, 1) * 3 + 0.2, torch.randn(2, 6, 1, 1)
    assert (net.theta(x) - torch.eye(2, 3)).abs().max() > 0.02
    torch.testing.assert_close(net.theta(gain * x + shift), net.theta(x), rtol=0, atol=1e-4)
    # ... but the map that it moves keeps its style.
    torch.testing.assert_close(net(gain * x), gain * net(x), rtol=0, atol=2e-3)


def test_an_istn_moves_by_its_theta() -> None:
    net, x = ISTN(1), torch.rand(1, 1, 8, 8)
    with torch.no_grad():  # what is at (x, y) comes from (-y, x): from bottom right to top right
        net.to_theta.bias.copy_(torch.tensor([0.0, -1.0, 0.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(net(x)[0, 0], x[0, 0].rot90(), rtol=0, atol=1e-5)
    with torch.no_grad():  # half a unit of two for eight pixels
        net.to_theta.bias.copy_(torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0, 0.0]))
    torch.testing.assert_close(net(x)[0, 0], F.pad(x[0, 0, :, 2:], (0, 2)), rtol=0, atol=1e-5)


def test_places_stay_fine_in_half_precision() -> None:
    net, x = restless(ISTN(4)), torch.randn(1, 4, 32, 32)
    with torch.autocast('cpu', torch.bfloat16):
        assert net.theta(x.bfloat16()).dtype == torch.float32
        assert net(x.bfloat16()).dtype == torch.bfloat16


def faces(number: int, generator: torch.Generator) -> Tensor:
    """Two eyes and a mouth as blobs, each of a colour and of its own brightness: (number, 3, 32, 32)."""
    axis = (torch.arange(32) + 0.5) / 16 - 1
    image = torch.zeros(number, 3, 32, 32)
    for place, (x, y, radius) in enumerate([(-0.35, -0.25, 0.16), (0.35, -0.25, 0.16), (0.0, 0.35, 0.25)]):
        blob = torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * radius**2))
        colour = 0.2 + 0.8 * torch.eye(3)[place]
        image += (0.5 + torch.rand(number, 1, 1, 1, generator=generator)) * colour[:, None, None] * blob
    return image


def moved(upright: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The images turned by up to 25 degrees and shifted by up to a tenth of a side, and the affine map back."""
    draw = 2 * torch.rand(3, len(upright), generator=generator) - 1
    cos, sin = (math.radians(25) * draw[0]).cos(), (math.radians(25) * draw[0]).sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    shift = 0.2 * draw[1:].T[:, :, None]
    grid = F.affine_grid(torch.cat([turn, shift], dim=2), list(upright.shape), align_corners=False)
    back = torch.cat([turn.mT, -turn.mT @ shift], dim=2)
    return F.grid_sample(upright, grid, align_corners=False), back


@cache
def trained_istn() -> ISTN:
    """An ISTN that was shown moved and upright faces."""
    torch.manual_seed(0)
    net, generator = ISTN(3), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(100):
        upright = faces(8, generator)
        optimizer.zero_grad()
        F.mse_loss(net(moved(upright, generator)[0]), upright).backward()
        optimizer.step()
    return net.requires_grad_(False)


@pytest.mark.parametrize('style', [((1.0, 1.0, 1.0), 0.0), ((0.4, 2.0, 1.3), 0.5)], ids=['source', 'other domain'])
def test_an_istn_learns_to_set_faces_upright(style: tuple[tuple[float, ...], float]) -> None:
    generator = torch.Generator().manual_seed(2)
    upright = faces(64, generator)
    tilted, back = moved(upright, generator)
    gain = torch.tensor(style[0])[:, None, None]
    theta = trained_istn().theta(gain * tilted + style[1])
    assert (theta - back).abs().mean() < 0.25 * (torch.eye(2, 3) - back).abs().mean()
    aligned = trained_istn()(gain * tilted)
    assert F.mse_loss(aligned, gain * upright) < 0.1 * F.mse_loss(gain * tilted, gain * upright)


def test_ale_by_hand() -> None:
    net, x = ALE(8, 6, reduction=2), torch.randn(2, 8, 5, 5)
    hidden, _, spread, _ = net.gate
    weight = torch.relu(x.mean((2, 3)) @ hidden.weight.T + hidden.bias) @ spread.weight.T + spread.bias
    gated = torch.einsum('nchw,nc->nchw', x, 1 / (1 + torch.exp(-weight)))
    windows = F.unfold(gated, 3, padding=1)
    found = net.conv.weight.flatten(1) @ windows + net.conv.bias[:, None]
    pooled = torch.where(found > 0, found, 0.2 * found).mean(2)
    torch.testing.assert_close(net(x), pooled @ net.latent.weight.T + net.latent.bias)


def test_context_by_hand() -> None:
    net = PyramidContext([4, 6, 5], num_feat=2)
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 5, 1, 1)]
    context = net(maps)
    for place, factor in enumerate((1, 2, 8)):
        lateral = torch.einsum('nchw,oc->nohw', maps[place], net.lateral[place].weight.flatten(1))
        lateral = lateral + net.lateral[place].bias[:, None, None]
        for image, own in zip(lateral, context[:, 2 * place : 2 * place + 2], strict=True):
            enlarged = cv2.resize(image.permute(1, 2, 0).detach().numpy(), None, fx=factor, fy=factor)
            torch.testing.assert_close(own, torch.from_numpy(enlarged).permute(2, 0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('backbone', 'use_istn'), [('resnet18', False), ('resnet34', True), ('resnet50', True)])
def test_maps_are_torchvision_s(backbone: str, use_istn: bool) -> None:
    torch.manual_seed(0)
    published = getattr(torchvision.models, backbone)(weights=None).eval()
    net = encoder(backbone=backbone, use_istn=use_istn).eval()
    net.load_backbone(published.state_dict())
    nodes = ['layer2', 'layer3', 'layer4', 'avgpool']
    wanted = create_feature_extractor(published, nodes)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for own, theirs in zip(net.backbone(image), wanted(image).values(), strict=True):
            torch.testing.assert_close(own, theirs, rtol=1e-3, atol=1e-3)


def test_backbone_is_fed_lr_enlarged_as_matlab_does_and_normalised_as_torchvision_does() -> None:
    net, lq, seen = encoder(), torch.rand(2, 3, 16, 16), []
    net.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(lq)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    enlarged = torch.stack([normalise(basicsr_imresize(each, 4)) for each in lq])
    torch.testing.assert_close(seen[0], enlarged, rtol=0, atol=1e-4)


def test_old_weight_files_without_counters_load() -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    net = encoder()
    net.load_backbone({key: value for key, value in state.items() if not key.endswith('num_batches_tracked')})
    assert torch.equal(net.backbone.resnet.layer4[1].conv2.weight, state['layer4.1.conv2.weight'])


def test_weights_of_another_network_are_refused() -> None:
    net = encoder()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UserError, match=r'backbone resnet18.*layer1\.2\.conv1\.weight'):
        net.load_backbone(torchvision.models.resnet34(weights=None).state_dict())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


SWITCHES = [{}, {'multi_scale': False}, {'use_istn': False}, {'predict_offset': False}]


@pytest.mark.parametrize('options', SWITCHES)
def test_w_for_each_layer(options: dict[str, bool]) -> None:
    net = encoder(**options)
    for side in (8, 16, 80):
        assert net(torch.rand(2, 3, side, side)).shape == (2, 4, 16)


def test_latents_for_1024_pixels() -> None:
    assert encoder(num_latent=18)(torch.rand(1, 3, 16, 16)).shape == (1, 18, 16)
    assert StyleGAN2Decoder(1024, 16, num_mlp=0, narrow=0.0625).num_latent == 18


@pytest.mark.parametrize('options', SWITCHES)
def test_gradients_reach_every_layer(options: dict[str, bool]) -> None:
    net = restless(encoder(num_feat=64, **options))  # of two channels in a gate all may be off
    net(torch.rand(4, 3, 16, 16)).square().mean().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def with_statistics(net: DAPEncoder) -> DAPEncoder:
    net.set_statistics(torch.linspace(-1, 1, 16), torch.linspace(0.5, 2, 16))
    return net


@pytest.mark.parametrize('multi_scale', [True, False])
def test_w_is_the_mean_plus_e_deviations(multi_scale: bool) -> None:
    net, plain = (encoder(multi_scale=multi_scale, predict_offset=each).eval() for each in (True, False))
    with_statistics(net)
    lq = torch.rand(2, 3, 16, 16)
    offset = plain(lq)
    assert 0 < offset.std() < 0.1  # training begins about the mean
    torch.testing.assert_close(net(lq), torch.linspace(-1, 1, 16) + offset * torch.linspace(0.5, 2, 16))
    for each in net.head.ales if multi_scale else [net.head]:
        nn.init.zeros_((each.latent if multi_scale else each.latents).weight)
    assert torch.equal(net(lq), torch.linspace(-1, 1, 16).expand(2, 4, 16))


def test_statistics_stay_when_the_encoder_learns() -> None:
    net = with_statistics(encoder())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, weight_decay=0.1)
    net(torch.rand(2, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    assert torch.equal(net.latent_mean, torch.linspace(-1, 1, 16))
    assert torch.equal(net.latent_std, torch.linspace(0.5, 2, 16))
    assert {'latent_mean', 'latent_std'} <= set(net.state_dict())


@pytest.mark.parametrize('options', SWITCHES)
def test_a_face_does_not_depend_on_its_batch(options: dict[str, bool]) -> None:
    net, lq = restless(encoder(**options)).eval(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(lq)[:1], net(lq[:1]), rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same() -> None:
    net, lq = restless(encoder()).eval(), torch.rand(2, 3, 16, 16)
    wanted = net(lq)
    layout = torch.channels_last
    torch.testing.assert_close(net.to(memory_format=layout)(lq.to(memory_format=layout)), wanted, rtol=1e-3, atol=1e-4)


def dapfsr(**options: Any) -> DAPFSR:
    torch.manual_seed(0)
    return DAPFSR(encoder={**SMALL, **options}, decoder=DECODER).eval()


def test_encoder_and_decoder_as_one() -> None:
    net, lq = dapfsr(), torch.rand(2, 3, 4, 4)
    sr = net(lq)
    noise = [net.decoder.noises.get_buffer(f'noise{layer}') for layer in range(net.decoder.num_layers)]
    torch.testing.assert_close(sr, net.decoder.synthesis(net.encoder(lq), noise) / 2 + 0.5)
    assert sr.shape == (2, 3, 8, 8)
    assert torch.equal(net(lq), sr)
    assert DAPFSR.adapter == 'DAPAdaptModel'


def test_traced_network_gives_the_same() -> None:
    example, other = torch.rand(2, 1, 3, 4, 4)
    net = restless(dapfsr())
    traced = torch.jit.trace(net, example)
    torch.testing.assert_close(traced(other), net(other), rtol=1e-4, atol=1e-5)


def test_ready_networks_are_taken_as_they_are() -> None:
    net = dapfsr()
    again = DAPFSR(encoder=net.encoder, decoder=net.decoder)
    assert again.encoder is net.encoder
    assert again.decoder is net.decoder


def test_a_checkpoint_is_all_that_is_needed(tmp_path: Path) -> None:
    block = {'type': 'DAPFSR', 'encoder': {**SMALL, 'use_istn': False}, 'decoder': DECODER}
    kept = copy.deepcopy(block)
    torch.manual_seed(0)
    net = build_network(block).eval()
    with_statistics(net.encoder)
    save_network(tmp_path / 'net_sr.pth', {'params': net}, {'arch': block})
    lq = torch.rand(1, 3, 4, 4)
    loaded = fsr_plugins.load(tmp_path / 'net_sr.pth')
    assert torch.equal(loaded(lq), net(lq))
    assert loaded.meta['arch'] == block == kept


def problems_of(block: dict[str, Any]) -> list[str]:
    lines: dict[str, None] = {}
    check_block(block, ('network_sr',), Problems(lambda _: 'x.yml:1', lines), 'archs')
    return list(lines)


def test_blocks_are_checked_to_their_depth() -> None:
    block = {'type': 'DAPFSR', 'encoder': dict(SMALL), 'decoder': dict(DECODER)}
    assert problems_of(block) == []
    block['encoder']['backbone'] = 'resnet51'
    block['encoder']['num_latents'] = 4
    block['decoder']['type'] = 'StyleGAN2Decodr'
    found = '\n'.join(problems_of(block))
    for part in ('network_sr.encoder.backbone', 'network_sr.encoder.num_latents', "'StyleGAN2Decoder'?"):
        assert part in found
    assert problems_of({'type': 'DAPFSR', 'encoder': 3, 'decoder': dict(DECODER)})


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: encoder(size=48), "'size' of DAPEncoder is 48"),
        (lambda: encoder(size=32), 'multiple of 32 from 64'),
        (lambda: encoder(backbone='resnet52'), "Did you mean 'resnet50'"),
        (lambda: encoder().set_statistics(torch.zeros(512), torch.ones(512)), r'\(512,\).*16 channels'),
        (lambda: dapfsr(num_latent=12), '12 latents of 16 channels.*takes 4 of 16'),
        (lambda: dapfsr(type='DAPEncodr'), "Did you mean 'DAPEncoder'"),
    ],
)
def test_what_does_not_fit_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_faces_are_not_distorted() -> None:
    with pytest.raises(ValueError, match='16x12'):
        encoder()(torch.rand(1, 3, 16, 12))
