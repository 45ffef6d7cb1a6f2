"""FaceQnet's preparation of images against OpenCV; its file against PyTorch's own layers where Keras is installed."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics import FIQ, base, fiq

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights."""
    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path))
    fiq._scorer.cache_clear()
    base._warn.cache_clear()
    return tmp_path


class Stub:
    """In the place of a network that Keras has read; keeps what it is given."""

    input_shape: Any = (None, 224, 224, 3)
    output_shape = (None, 1)
    trainable = True

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor, training: bool) -> Tensor:
        assert not training
        self.seen.append(images)
        return torch.tensor([[-0.25], [0.5], [1.75]])[: len(images)]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """A stand-in for Keras, installed or not."""
    net = Stub()
    keras: Any = types.ModuleType('keras')
    keras.config = types.SimpleNamespace(backend=lambda: 'torch')
    keras.models = types.SimpleNamespace(load_model=lambda path, compile, safe_mode: net)
    monkeypatch.setitem(sys.modules, 'keras', keras)
    monkeypatch.setattr(fiq, 'find_spec', lambda name: True)
    return net


def test_images_reach_the_network_as_opencv_gives_them(place: Path, stub: Stub) -> None:
    (place / 'FaceQnet_v0.h5').write_bytes(b'file')
    pixels = RNG.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    metric = FIQ(model='faceqnet_v0')
    metric.update(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, None, {})
    expected = np.stack([cv2.resize(image[:, :, ::-1], (224, 224)) for image in pixels]).astype(np.float32)
    (seen,) = stub.seen
    assert seen.shape == (3, 224, 224, 3)
    assert np.abs(seen.numpy() - expected).max() <= 1
    torch.testing.assert_close(metric.last['fiq'], torch.tensor([0.0, 0.5, 1.0]))
    assert metric.compute() == {'fiq': 0.5}


def test_the_convention_names_version_and_file(tmp_path: Path, stub: Stub) -> None:
    file = tmp_path / 'mine.h5'
    file.write_bytes(b'file')
    convention = FIQ(weights=str(file), model='faceqnet_v1').convention
    assert convention.startswith(f'FaceQnet v1 (mine.h5 {hashlib.sha256(b"file").hexdigest()[:8]})')
    (weight,) = FIQ.requirements(weights=str(file))
    assert weight.path == str(file)


def test_what_is_no_faceqnet_is_refused(place: Path, stub: Stub) -> None:
    (place / 'FaceQnet_v1.h5').write_bytes(b'file')
    stub.input_shape = (None, 10)
    with pytest.raises(UserError, match='is no FaceQnet'):
        FIQ()
    with pytest.raises(UserError, match='choose one of faceqnet_v0, faceqnet_v1, topiq_nr-face'):
        FIQ(model='faceqnet')


def test_without_the_file_there_is_no_figure(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert FIQ.requirements() == []
    metrics = [FIQ(), FIQ()]
    for metric in metrics:
        assert metric.convention.startswith(
            f"absent: FaceQnet v1 is not at '{place / 'FaceQnet_v1.h5'}': fetch https://"
        )
        metric.update(torch.rand(2, 3, 16, 16), None, {})
        assert metric.compute() == {}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ('WARNING', f"The metric 'fiq' is {metrics[0].convention}")
    ]


def test_without_keras_there_is_no_figure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / 'FaceQnet_v1.h5').write_bytes(b'file')
    monkeypatch.setattr(fiq, 'find_spec', lambda name: None)
    assert 'fsr_plugins[fiq]' in FIQ().convention
    for use in (FIQ, FIQ.requirements):
        with pytest.raises(UserError, match="needs the package 'keras' to run"):
            use(weights=str(place / 'FaceQnet_v1.h5'))


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    for use in (FIQ, FIQ.requirements):
        with pytest.raises(UserError, match=r'none\.h5'):
            use(weights=str(tmp_path / 'none.h5'))


def keras_2_file(path: Path, weights: dict[str, dict[str, np.ndarray]]) -> None:
    """A small network as Keras 2 wrote one of the layers of FaceQnet's ResNet-50."""
    import h5py

    kernel = {'kernel_initializer': {'class_name': 'Zeros', 'config': {}}}
    conv = {'filters': 4, 'kernel_size': [7, 7], 'strides': [2, 2], 'padding': 'same', 'use_bias': False, **kernel}
    layers = [
        ('InputLayer', 'base_input', {'batch_input_shape': [None, 224, 224, 3], 'dtype': 'float32', 'sparse': False}),
        ('Conv2D', 'conv', {'data_format': 'channels_last', 'activation': 'linear', **conv}, 'base_input'),
        ('BatchNormalization', 'bn', {'axis': 3, 'momentum': 0.99, 'epsilon': 0.001}, 'conv'),
        ('Activation', 'relu', {'activation': 'relu'}, 'bn'),
        ('Add', 'add', {}, 'relu', 'bn'),
        ('AveragePooling2D', 'avg_pool', {'pool_size': [112, 112], 'strides': [112, 112], 'padding': 'valid'}, 'add'),
        ('Flatten', 'flatten', {}, 'avg_pool'),
        ('Dropout', 'dropout', {'rate': 0.5}, 'flatten'),
        ('Dense', 'score', {'units': 1, 'activation': 'linear', 'use_bias': True, **kernel}, 'dropout'),
    ]
    config = {
        'name': 'model_1',
        'layers': [
            {
                'class_name': kind,
                'name': name,
                'config': {'name': name, 'trainable': True, **options},
                'inbound_nodes': [[[other, 0, 0, {}] for other in others]] if others else [],
            }
            for kind, name, options, *others in layers
        ],
        'input_layers': [['base_input', 0, 0]],
        'output_layers': [['score', 0, 0]],
    }
    with h5py.File(path, 'w') as file:
        file.attrs['keras_version'], file.attrs['backend'] = b'2.1.3', b'tensorflow'
        file.attrs['model_config'] = json.dumps({'class_name': 'Model', 'config': config}).encode()
        group = file.create_group('model_weights')
        group.attrs['layer_names'] = [layer[1].encode() for layer in layers]
        for _, name, *_ in layers:
            own = weights.get(name, {})
            group.create_group(name).attrs['weight_names'] = [f'{name}/{key}:0'.encode() for key in own]
            for key, value in own.items():
                group[name].create_dataset(f'{name}/{key}:0', data=value.astype(np.float32))


@pytest.mark.skipif(find_spec('keras') is None or find_spec('h5py') is None, reason='needs the extra fiq')
def test_a_file_of_keras_2_equals_pytorchs_layers(tmp_path: Path) -> None:
    weights = {
        'conv': {'kernel': RNG.normal(size=(7, 7, 3, 4)) / 5000},
        'bn': {
            'gamma': RNG.normal(size=4),
            'beta': RNG.normal(size=4) / 10,
            'moving_mean': RNG.normal(size=4) / 10,
            'moving_variance': RNG.random(4) + 0.5,
        },
        'score': {'kernel': RNG.normal(size=(4, 1)) / 10, 'bias': np.array([0.5])},
    }
    keras_2_file(tmp_path / 'FaceQnet_v1.h5', weights)
    images = torch.rand(2, 3, 224, 224).mul(255).round() / 255
    metric = FIQ()
    metric.update(images, None, {})

    w = {name: {key: torch.from_numpy(value).float() for key, value in own.items()} for name, own in weights.items()}
    # TensorFlow's 'same' pads more behind than before.
    x = F.conv2d(F.pad(images.flip(1) * 255, (2, 3, 2, 3)), w['conv']['kernel'].permute(3, 2, 0, 1), stride=2)
    bn = (w['bn'][key] for key in ('moving_mean', 'moving_variance', 'gamma', 'beta'))
    x = F.batch_norm(x, *bn, eps=0.001)
    expected = (x.relu() + x).mean(dim=(2, 3)) @ w['score']['kernel'] + w['score']['bias']
    assert ((expected > 0) & (expected < 1)).all()
    torch.testing.assert_close(metric.last['fiq'], expected[:, 0], atol=1e-4, rtol=1e-4)

    (tmp_path / 'FaceQnet_v1.h5').write_bytes(b'nothing of the kind')
    with pytest.raises(UserError, match='holds no network that Keras'):
        FIQ(weights=str(tmp_path / 'FaceQnet_v1.h5'))


def test_topiq_reads_a_file_strictly_and_fetches_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for pyiqa, installed or not."""

    class Metric(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.net(images.mean(dim=(2, 3)))

    def create_metric(name: str, **options: Any) -> Metric:
        assert (name, options['pretrained'], options['backbone_pretrain']) == ('topiq_nr-face', False, False)
        return Metric()

    pyiqa: Any = types.ModuleType('pyiqa')
    pyiqa.create_metric = create_metric
    monkeypatch.setitem(sys.modules, 'pyiqa', pyiqa)
    monkeypatch.setattr(fiq, 'find_spec', lambda name: True)
    file = place / 'topiq_nr_cgfiqa_res50-0a8b8e4f.pth'
    torch.save({'params': {'weight': torch.ones(1, 3), 'bias': torch.zeros(1)}}, file)
    metric = FIQ(model='topiq_nr-face')
    assert metric.convention.startswith(f'TOPIQ for faces ({file.name} ')
    images = torch.rand(2, 3, 8, 8)
    metric.update(images, None, {})
    torch.testing.assert_close(metric.last['fiq'], images.mean(dim=(2, 3)).sum(dim=1))

    torch.save({'params': {'weight': torch.ones(1, 3)}}, place / 'part.pth')
    with pytest.raises(UserError, match="does not fit Linear: 'bias' is missing.*topiq_nr-face"):
        FIQ(weights=str(place / 'part.pth'), model='topiq_nr-face')


@pytest.mark.skipif(find_spec('pyiqa') is None, reason='needs pyiqa')
def test_topiq_is_pyiqas_network(place: Path) -> None:
    from pyiqa.archs.topiq_arch import CFANet

    torch.manual_seed(0)
    net = CFANet(use_ref=False, pretrained=False, backbone_pretrain=False).eval()
    torch.save({'params': net.state_dict()}, place / 'net.pth')
    images = torch.rand(2, 3, 128, 128).mul(255).round() / 255
    metric = FIQ(weights=str(place / 'net.pth'), model='topiq_nr-face')
    metric.update(images, None, {})
    enlarged = F.interpolate(images, (512, 512), mode='bilinear', antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(metric.last['fiq'], net(enlarged)[:, 0])
