"""The recognisers: what goes in, what comes out, that published weights fit, and that frozen means frozen."""

from __future__ import annotations

import hashlib
import inspect
import os
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from fsr_plugins.archs.recognition import (
    ArcFace,
    FaceNet,
    MobileFaceNet,
    Recogniser,
    SphereFace20,
    make_recogniser,
    recogniser_factory,
    recogniser_weight,
)
from fsr_plugins.checkpoints import writing as saving
from fsr_plugins.errors import UserError
from fsr_plugins.models.networks import evaluating, freeze
from fsr_plugins.registry import ARCH_REGISTRY, build_network
from fsr_plugins.weights import WeightFile

from facexlib.recognition.arcface_arch import Backbone  # isort: skip  needs torchvision as mended

NETWORKS = {SphereFace20: 512, FaceNet: 512, ArcFace: 512, MobileFaceNet: 128}


@ARCH_REGISTRY.register()
class ArchTestRecogniser(Recogniser):
    """A mean per channel and a linear layer."""

    face_size = (6, 4)
    embedding_size = 2
    mean, std = 0.5, 0.25
    heads = ('classifier.',)

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.linear = nn.Linear(3, 2)

    def embed(self, faces: Tensor) -> Tensor:
        return self.linear(faces.mean(dim=(2, 3)))


@pytest.fixture(scope='module')
def networks() -> dict[type[Recogniser], Recogniser]:
    torch.manual_seed(0)
    return {cls: cls().eval() for cls in NETWORKS}


def parameters(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


# ---- what goes in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(16, 16), (128, 128), (250, 200)])
def test_resize_is_antialiased_bilinear(size: tuple[int, int]) -> None:
    """Pillow's bilinear filter widens with the reduction, too."""
    net = ArchTestRecogniser()
    image = np.random.default_rng(0).random(size, dtype=np.float32)
    expected = np.asarray(Image.fromarray(image).resize((4, 6), Image.Resampling.BILINEAR))
    seen = net.prepare(torch.from_numpy(image).expand(1, 3, *size)) * net.std + net.mean
    np.testing.assert_allclose(seen[0, 1].numpy(), expected, atol=1e-5)


def test_centercrop_takes_the_middle() -> None:
    net = ArchTestRecogniser(adapt='centercrop')
    images = torch.rand(2, 3, 11, 8)
    torch.testing.assert_close(net.prepare(images), (images[:, :, 2:8, 2:6] - 0.5) / 0.25)
    with pytest.raises(ValueError, match=r'6x4 .* out of images of 5x8.*resize'):
        net(images[:, :, :5])


@pytest.mark.parametrize('factor', [1, 16])
def test_inner_takes_the_middle_and_scales_it(factor: int) -> None:
    """Five eighths of 96x64, the largest 6x4 that fits 96x80, are 60x40; of 6x4 itself they are 4x2."""
    net = ArchTestRecogniser(adapt='inner')
    large = np.random.default_rng(0).random((96, 80), dtype=np.float32)
    image, box = (large, (20, 18, 60, 78)) if factor > 1 else (large[:6, :4], (1, 1, 3, 5))
    expected = np.asarray(Image.fromarray(image).crop(box).resize((4, 6), Image.Resampling.BILINEAR))
    seen = net.prepare(torch.from_numpy(image).expand(1, 3, *image.shape)) * net.std + net.mean
    np.testing.assert_allclose(seen[0, 1].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(('cls', 'first'), [(SphereFace20, 0.0), (ArcFace, 0.0), (FaceNet, 1.0), (MobileFaceNet, 1.0)])
def test_range_and_channel_order(
    cls: type[Recogniser], first: float, networks: dict[type[Recogniser], Recogniser]
) -> None:
    """What a network sees of pure red: 255 first in RGB, last in BGR."""
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, *cls.face_size)
    seen = networks[cls].prepare(red)[0, :, 0, 0]
    divisor = 127.5 if cls is ArcFace else 128
    expected = torch.tensor([255 * first - 127.5, -127.5, 255 * (1 - first) - 127.5]) / divisor
    torch.testing.assert_close(seen, expected)


def test_wrong_input() -> None:
    with pytest.raises(UserError, match="'adapt' of ArchTestRecogniser is 'pad': choose one of resize, centercrop"):
        ArchTestRecogniser(adapt='pad')
    with pytest.raises(ValueError, match=r'\(2, 1, 8, 8\)'):
        ArchTestRecogniser()(torch.rand(2, 1, 8, 8))


# ---- what comes out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('cls', NETWORKS)
def test_embeds_any_size_and_lets_gradients_through(
    cls: type[Recogniser], networks: dict[type[Recogniser], Recogniser]
) -> None:
    images = torch.rand(2, 3, 64, 48, requires_grad=True)
    embedding = networks[cls](images)
    assert embedding.shape == (2, NETWORKS[cls]) == (2, cls.embedding_size)
    (gradient,) = torch.autograd.grad(embedding[0, 0], images)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


@pytest.mark.parametrize('cls', [FaceNet, ArcFace])
def test_unit_length(cls: type[Recogniser], networks: dict[type[Recogniser], Recogniser]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(networks[cls](torch.rand(2, 3, 128, 128)).norm(dim=1), torch.ones(2))


def conv(num_in: int, num_out: int, taps: int, after: int) -> int:
    """Weights of a convolution and ``after`` more numbers an output channel (bias, normalisation, slope)."""
    return num_in * num_out * taps + after * num_out


@pytest.mark.parametrize('num_feat', [64, 6])
def test_parameters_of_spherefaces_layers(num_feat: int) -> None:
    """Every convolution has a bias and a PReLU slope a channel."""
    total, num_in = 0, 3
    for factor, convolutions in ((1, 3), (2, 5), (4, 9), (8, 3)):
        width = factor * num_feat
        total += conv(num_in, width, 9, 2) + (convolutions - 1) * conv(width, width, 9, 2)
        num_in = width
    assert parameters(SphereFace20(num_feat=num_feat)) == total + conv(8 * num_feat * 7 * 6, 512, 1, 1)


@pytest.mark.parametrize('num_feat', [64, 8])
def test_spherefaces_signals_keep_their_size_before_training(num_feat: int) -> None:
    """A residual pair adds little to its input, and an embedding's numbers are about the size of the pixels'."""
    torch.manual_seed(0)
    net = SphereFace20(num_feat=num_feat)
    faces = torch.randn(2, 3, 112, 96)
    with torch.no_grad():
        x = net.relu1_1(net.conv1_1(faces))
        residual = net.relu1_3(net.conv1_3(net.relu1_2(net.conv1_2(x))))
        embedding = net.embed(faces)
    assert residual.std() < 0.3 * x.std()
    assert 0.3 < embedding.std() < 3


def test_spherefaces_width_is_checked() -> None:
    with pytest.raises(UserError, match="'num_feat' of SphereFace20 is 0"):
        SphereFace20(num_feat=0)


def test_parameters_of_facenets_layers(networks: dict[type[Recogniser], Recogniser]) -> None:
    """Figures 10 to 14 of Inception-v4's paper with the widths of Inception-ResNet-v1, each convolution normalised."""
    stem = [(3, 32, 9), (32, 32, 9), (32, 64, 9), (64, 80, 1), (80, 192, 9), (192, 256, 9)]
    block_a = 3 * [(256, 32, 1)] + 3 * [(32, 32, 9)]
    reduction_a = [(256, 384, 9), (256, 192, 1), (192, 192, 9), (192, 256, 9)]
    block_b = 2 * [(896, 128, 1)] + 2 * [(128, 128, 7)]
    reduction_b = 3 * [(896, 256, 1)] + [(256, 384, 9)] + 3 * [(256, 256, 9)]
    block_c = 2 * [(1792, 192, 1)] + 2 * [(192, 192, 3)]
    normalised = stem + 5 * block_a + reduction_a + 10 * block_b + reduction_b + 6 * block_c
    total = sum(conv(*layer, after=2) for layer in normalised)
    # back to the block's width: with a bias, without normalisation
    total += 5 * conv(96, 256, 1, 1) + 10 * conv(256, 896, 1, 1) + 6 * conv(384, 1792, 1, 1)
    total += conv(1792, 512, 1, 2)
    assert total == 23_482_624
    assert parameters(networks[FaceNet]) == total


def test_parameters_of_mobilefacenets_layers(networks: dict[type[Recogniser], Recogniser]) -> None:
    """Table 1 of the paper, which says 0.99 million; normalisation two, PReLU one number a channel."""
    total = conv(3, 64, 9, 3) + conv(1, 64, 9, 3)
    num_in = 64
    for expansion, width, repetitions in ((2, 64, 5), (4, 128, 1), (2, 128, 6), (4, 128, 1), (2, 128, 2)):
        for _ in range(repetitions):
            hidden = expansion * num_in
            total += conv(num_in, hidden, 1, 3) + conv(1, hidden, 9, 3) + conv(hidden, width, 1, 2)
            num_in = width
    total += conv(128, 512, 1, 3) + conv(1, 512, 42, 2) + conv(512, 128, 1, 2)
    assert parameters(networks[MobileFaceNet]) == total


def test_sphereface_without_its_residual_pairs_is_four_strided_convolutions() -> None:
    torch.manual_seed(0)
    net = SphereFace20(num_feat=8)
    with torch.no_grad():
        for name, layer in net.named_children():
            if name.startswith('conv') and not name.endswith('_1'):
                layer.weight.zero_()
                layer.bias.zero_()
        faces = torch.randn(1, 3, 112, 96)
        x = faces
        for stage in range(1, 5):
            x = net.get_submodule(f'relu{stage}_1')(net.get_submodule(f'conv{stage}_1')(x))
        torch.testing.assert_close(net.embed(faces), net.fc5(x.reshape(1, 64 * 7 * 6)))


def test_arcface_is_facexlibs(networks: dict[type[Recogniser], Recogniser]) -> None:
    torch.manual_seed(1)
    backbone = Backbone(num_layers=50, drop_ratio=0.6, mode='ir_se').eval()
    net = ArcFace().eval()
    net.load_published(backbone.state_dict())
    rgb = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(net(rgb), backbone((rgb[:, [2, 1, 0]] - 0.5) / 0.5))


# ---- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('cls', [FaceNet, ArcFace, MobileFaceNet])
def test_published_files_can_be_checked(cls: type[Recogniser]) -> None:
    weight = recogniser_weight({'type': cls.__name__})
    assert weight.url.startswith('https://')
    assert len(bytes.fromhex(weight.sha256)) == 32


@pytest.mark.parametrize(
    ('cls', 'names'),
    [
        (FaceNet, ['conv2d_1a.conv.weight', 'repeat_1.4.branch2.2.bn.running_var', 'mixed_7a.branch2.2.bn.bias',
                   'block8.conv2d.bias', 'last_linear.weight', 'last_bn.bias']),
        (SphereFace20, ['conv1_1.weight', 'relu3_9.weight', 'fc5.bias']),
        (MobileFaceNet, ['dw_conv1.bn.weight', 'blocks.14.conv.7.running_mean', 'linear7.conv.weight']),
    ],
)  # fmt: skip
def test_names_in_published_files(
    cls: type[Recogniser], names: list[str], networks: dict[type[Recogniser], Recogniser]
) -> None:
    assert set(names) <= set(networks[cls].state_dict())


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.'])
@pytest.mark.parametrize('holder', [None, 'params', 'g_ema', 'net_state_dict', 'state_dict'])
def test_reads_common_layouts(holder: str | None, prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = ArchTestRecogniser()
    state: dict[str, Any] = {prefix + key: value for key, value in source.state_dict().items()}
    state[f'{prefix}classifier.weight'] = torch.zeros(9, 2)
    torch.save(state if holder is None else {'epoch': 3, holder: state}, tmp_path / 'net.pth')
    net = make_recogniser({'type': 'ArchTestRecogniser', 'path': str(tmp_path / 'net.pth')})
    torch.testing.assert_close(net.state_dict(), source.state_dict())


def test_reads_safetensors(tmp_path: Path) -> None:
    source = ArchTestRecogniser()
    save_file(dict(source.state_dict()), tmp_path / 'net.safetensors')
    net = make_recogniser({'type': 'ArchTestRecogniser', 'path': str(tmp_path / 'net.safetensors')})
    torch.testing.assert_close(net.state_dict(), source.state_dict())


def test_is_frozen_for_good(tmp_path: Path) -> None:
    torch.save(ArchTestRecogniser().state_dict(), tmp_path / 'net.pth')
    net = make_recogniser({'type': 'ArchTestRecogniser', 'path': str(tmp_path / 'net.pth'), 'adapt': 'centercrop'})
    assert net.adapt == 'centercrop'
    assert not any(module.training for module in nn.Sequential(net).train()[0].modules())
    assert not any(weight.requires_grad for weight in net.parameters())
    assert ArchTestRecogniser().train().training


def saved(path: Path, net: Recogniser, average: Recogniser | None = None, **arguments: Any) -> str:
    """Writes a checkpoint as the toolkit's training does; returns its path."""
    nets = {'params': net} if average is None else {'params': net, 'params_ema': average}
    meta = saving.describe('net_r', {'type': type(net).__name__, **arguments}, 7, saving.Training())
    saving.save_network(path, nets, meta)
    return str(path)


def test_a_checkpoint_of_the_toolkit_brings_its_arguments(tmp_path: Path) -> None:
    source = SphereFace20(num_feat=4)
    file = saved(tmp_path / 'net.pth', source, num_feat=4, adapt='centercrop')
    net = make_recogniser({'type': 'SphereFace20', 'path': file})
    assert net.adapt == 'centercrop'
    torch.testing.assert_close(net.state_dict(), source.state_dict())
    assert make_recogniser({'type': 'SphereFace20', 'path': file, 'adapt': 'resize'}).adapt == 'resize'
    assert SphereFace20.pretrained(file).adapt == 'centercrop'


def test_the_averaged_weights_go_first(tmp_path: Path) -> None:
    source, average = ArchTestRecogniser(), ArchTestRecogniser()
    net = make_recogniser({'type': 'ArchTestRecogniser', 'path': saved(tmp_path / 'net.pth', source, average)})
    torch.testing.assert_close(net.state_dict(), average.state_dict())


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    file = saved(tmp_path / 'net.pth', ArchTestRecogniser())
    with pytest.raises(UserError, match=r'net\.pth.* ArchTestRecogniser, not SphereFace20'):
        make_recogniser({'type': 'SphereFace20', 'path': file})
    file = saved(tmp_path / 'odd.pth', ArchTestRecogniser(), width=3)
    with pytest.raises(UserError, match=r'odd\.pth.*does not hold the weights of ArchTestRecogniser.*width'):
        make_recogniser({'type': 'ArchTestRecogniser', 'path': file})


def test_a_frozen_recogniser_may_be_frozen_again_as_a_network_of_a_model(tmp_path: Path) -> None:
    net = freeze(
        make_recogniser({'type': 'ArchTestRecogniser', 'path': saved(tmp_path / 'n.pth', ArchTestRecogniser())})
    )
    with evaluating(net):
        assert not net.training
    nn.Sequential(net).train()
    assert not net.training and not any(weight.requires_grad for weight in net.parameters())
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    net(images).sum().backward()
    assert images.grad is not None


@pytest.mark.parametrize(('cls', 'arguments'), [(MobileFaceNet, {}), (SphereFace20, {'num_feat': 4})])
def test_learns_from_scratch(cls: type[Recogniser], arguments: dict[str, Any]) -> None:
    """Two kinds of pictures are told apart after a few steps."""
    torch.manual_seed(0)
    net = build_network({'type': cls.__name__, **arguments})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4) % 2
    images[labels == 0] *= torch.linspace(0, 1, 32)
    losses = []
    for _ in range(4):
        losses.append(nn.functional.cross_entropy(net(images)[:, :2], labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert all(weight.grad is not None for weight in net.parameters())
    assert losses[-1] < 0.5 * losses[0]


def test_fetches_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'own'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    server = tmp_path / 'server.pth'
    source = ArchTestRecogniser()
    torch.save(source.state_dict(), server)
    digest = hashlib.sha256(server.read_bytes()).hexdigest()
    monkeypatch.setattr(ArchTestRecogniser, 'published', WeightFile('tiny', server.as_uri(), digest, 'tiny.pth'))
    net = make_recogniser({'type': 'ArchTestRecogniser', 'path': None})
    torch.testing.assert_close(net.state_dict(), source.state_dict())
    assert (tmp_path / 'own' / 'tiny.pth').is_file()


def test_a_block_can_be_checked_by_the_factorys_signature() -> None:
    factory = recogniser_factory('ArcFace')
    assert factory.__name__ == 'ArcFace'
    assert list(inspect.signature(factory).parameters) == ['path', 'adapt']
    assert get_type_hints(factory)['adapt'] == Literal['resize', 'centercrop', 'inner'] | None


def test_wrong_blocks_and_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a key 'type'.*FaceNet"):
        make_recogniser({'path': None})
    with pytest.raises(UserError, match="'LightCNNDiscriminator' is no recogniser.*ArcFace"):
        make_recogniser({'type': 'LightCNNDiscriminator'})
    with pytest.raises(UserError, match="ArchTestRecogniser's weights cannot be fetched: give 'path'"):
        make_recogniser({'type': 'ArchTestRecogniser'})
    torch.save(ArchTestRecogniser().state_dict(), tmp_path / 'tiny.pth')
    with pytest.raises(UserError, match=r"tiny\.pth' does not fit MobileFaceNet: it has none of its tensors") as caught:
        make_recogniser({'type': 'MobileFaceNet', 'path': str(tmp_path / 'tiny.pth')})
    assert '\n' not in str(caught.value)
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(UserError, match=r"list\.pth' holds no network weights.*It is a list"):
        make_recogniser({'type': 'MobileFaceNet', 'path': str(tmp_path / 'list.pth')})


def test_the_published_mobilefacenet_loads() -> None:
    """Needs ``mobilefacenet_casia.ckpt`` in the folder ``$FSR_TEST_WEIGHTS``."""
    file = Path(os.environ.get('FSR_TEST_WEIGHTS', '')) / 'mobilefacenet_casia.ckpt'
    if not file.is_file():
        pytest.skip(f'no {file.name} in $FSR_TEST_WEIGHTS')
    assert hashlib.sha256(file.read_bytes()).hexdigest() == recogniser_weight({'type': 'MobileFaceNet'}).sha256
    net = make_recogniser({'type': 'MobileFaceNet', 'path': str(file)})
    with torch.no_grad():
        # Trained statistics: random input, too, leaves the last normalisation with about unit variance.
        assert 0.2 < net(torch.rand(4, 3, 112, 96)).std() < 5
