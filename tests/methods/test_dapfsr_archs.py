"""DAP-FSR's networks: parameters counted by hand, the backbone against torchvision's, switches, checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fsr_plugins
from fsr_plugins.archs.stylegan2 import StyleGAN2Decoder
from fsr_plugins.checkpoints import save_network
from fsr_plugins.config.blocks import check_block
from fsr_plugins.config.problems import Problems
from fsr_plugins.errors import UserError
from fsr_plugins.methods.dapfsr.archs import DAPFSR, DAPEncoder
from fsr_plugins.methods.dapfsr.blocks import ISTN
from fsr_plugins.registry import build_network

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


def restless(net: nn.Module) -> Any:
    """The network with ISTNs that move, as after training."""
    for each in net.modules():
        if isinstance(each, ISTN):
            nn.init.normal_(each.to_theta.weight, std=0.1)
    return net


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


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_traced_encoder_gives_the_same() -> None:
    net, (example, other) = restless(encoder()).eval(), torch.rand(2, 1, 3, 16, 16)
    traced = torch.jit.trace(net, example)
    torch.testing.assert_close(traced(other), net(other), rtol=1e-4, atol=1e-5)


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
