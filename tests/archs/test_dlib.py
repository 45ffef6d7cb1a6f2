"""dlib's network: its layers by hand, its published layout written out and read back, and its place for faces."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.archs.recognition import DlibResNet, make_recogniser
from fsr_plugins.archs.recognition.dlib import Residual
from fsr_plugins.checkpoints import load_state
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.recogniser import EvaluationRecogniser
from fsr_plugins.registry import build_network


def published(folder: Path, state: dict[str, Tensor], eight_bits: bool = True) -> Path:
    """Writes a state dict as face-api does; numbers of 8 bits lose what is below a 255th of their range."""
    weights, data = [], b''
    for name, tensor in state.items():
        numbers = tensor.permute(2, 3, 1, 0).contiguous().numpy() if tensor.ndim == 4 else tensor.numpy()
        entry = {'name': name.replace('.', '/'), 'shape': list(numbers.shape), 'dtype': 'float32'}
        if eight_bits:
            least = float(numbers.min())
            scale = max(float(numbers.max()) - least, 1e-9) / 255
            entry['quantization'] = {'dtype': 'uint8', 'scale': scale, 'min': least}
            numbers = np.round((numbers - least) / scale).astype(np.uint8)
        weights.append(entry)
        data += numbers.astype('<f4' if not eight_bits else 'u1').tobytes()
    file = folder / 'net.bin'
    file.write_bytes(data)
    manifest = [{'weights': weights, 'paths': ['net.bin']}]
    (folder / 'net-weights_manifest.json').write_text(json.dumps(manifest))
    return file


def test_the_published_layout_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = DlibResNet()
    exact = make_recogniser({'type': 'DlibResNet', 'path': str(published(tmp_path, net.state_dict(), False))})
    torch.testing.assert_close(exact.state_dict(), net.state_dict())
    rounded = load_state(published(tmp_path, net.state_dict()))
    for name, tensor in net.state_dict().items():
        step = float(tensor.max() - tensor.min()) / 255
        assert rounded[name].shape == tensor.shape
        assert float((rounded[name] - tensor).abs().max()) <= 0.501 * step + 1e-6, name


def test_numbers_of_8_bits_are_scale_times_number_plus_minimum(tmp_path: Path) -> None:
    entry = {'name': 'a/b', 'shape': [3], 'dtype': 'float32'}
    entry['quantization'] = {'dtype': 'uint8', 'scale': 0.5, 'min': -2.0}
    (tmp_path / 'x.bin').write_bytes(bytes([0, 1, 255]))
    (tmp_path / 'x-weights_manifest.json').write_text(json.dumps([{'weights': [entry], 'paths': ['x.bin']}]))
    assert load_state(tmp_path / 'x.bin')['a.b'].tolist() == [-2.0, -1.5, 125.5]


def test_it_is_a_network_of_option_files_too(tmp_path: Path) -> None:
    """As C-Face's frozen ``network_r`` is built and filled."""
    from fsr_plugins.checkpoints import load_weights

    torch.manual_seed(0)
    source, net = DlibResNet(), build_network({'type': 'DlibResNet'})
    load_weights(net, str(published(tmp_path, source.state_dict(), False)))
    images = torch.rand(2, 3, 128, 128, requires_grad=True)
    embedding = net(images)
    torch.testing.assert_close(embedding, source(images))
    assert embedding.shape == (2, 128)
    (gradient,) = torch.autograd.grad(embedding[0].square().sum(), images)
    assert gradient[0].abs().max() > 0 == gradient[1].abs().max()


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path) -> None:
    file = published(tmp_path, DlibResNet().state_dict())
    manifest = tmp_path / 'net-weights_manifest.json'
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"net\.bin' has \d+ bytes, and 'net-weights_manifest\.json' says \d+"):
        load_state(file)
    for text in ('{', '[{"weights": [{"name": "a"}], "paths": ["net.bin"]}]', '[3]'):
        manifest.write_text(text)
        with pytest.raises(UserError, match='is no manifest of weights of TensorFlow.js'):
            load_state(file)
    manifest.unlink()
    with pytest.raises(UserError, match="'net-weights_manifest.json' belongs beside it"):
        load_state(file)
    with pytest.raises(UserError, match="weights cannot be fetched: give 'path'.*@vladmandic/face-api"):
        make_recogniser({'type': 'DlibResNet'})


@pytest.mark.parametrize('size', [17, 8])
def test_a_reducing_block_fills_up_with_zeros(size: int) -> None:
    """Of 17 both ways give 8; of 8 the convolutions give 3 and the means 4."""
    torch.manual_seed(0)
    block, x = Residual(2, 3, down=True), torch.rand(1, 2, size, size)
    with torch.no_grad():
        out = block(x)
        inner = F.conv2d(x, block.conv1.conv.filters, stride=2).relu()
        inner = F.conv2d(inner, block.conv2.conv.filters, padding=1)
    expected = torch.zeros(1, 3, size // 2, size // 2)
    expected[:, :, : inner.shape[2], : inner.shape[3]] += inner
    expected[:, :2] += F.avg_pool2d(x, 2)
    torch.testing.assert_close(out, expected.relu())


def test_parameters_of_its_layers() -> None:
    """29 convolutions, each with a bias, a factor and a bias a channel, and a matrix."""
    widths = [*[32] * 6, *[64] * 8, *[128] * 6, *[256] * 8]
    layers = [(3, 32, 49), *((one, other, 9) for one, other in zip([32, *widths], widths, strict=False))]
    assert len(layers) == 29
    total = sum(num_in * num_out * taps + 3 * num_out for num_in, num_out, taps in layers) + 256 * 128
    assert sum(weight.numel() for weight in DlibResNet().parameters()) == total


def test_what_the_network_sees_of_a_colour() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 150, 150)
    seen = DlibResNet().prepare(red)[0, :, 0, 0]
    torch.testing.assert_close(seen, torch.tensor([255 - 122.782, -117.001, -104.298]) / 256)


def test_faces_are_aligned_to_dlibs_chip() -> None:
    """A face whose points lie in their places already is not moved; elsewhere it is."""
    torch.manual_seed(0)
    net = DlibResNet().eval()
    recogniser = EvaluationRecogniser(net, 'landmarks')
    images, points = torch.rand(1, 3, 150, 150), torch.tensor([DlibResNet.face_points])
    with torch.no_grad():
        expected = F.normalize(net(images))
    torch.testing.assert_close(recogniser.embed(images, points), expected, atol=1e-4, rtol=1e-3)
    assert float((recogniser.embed(images, points * 1.2) - expected).abs().max()) > 1e-3


def test_the_published_weights_load() -> None:
    """Needs face-api's two files in the folder ``$FSR_TEST_WEIGHTS``."""
    file = Path(os.environ.get('FSR_TEST_WEIGHTS', '')) / 'face_recognition_model.bin'
    if not file.is_file():
        pytest.skip(f'no {file.name} in $FSR_TEST_WEIGHTS')
    net = make_recogniser({'type': 'DlibResNet', 'path': str(file)})
    with torch.no_grad():
        flat, noise = net(torch.full((1, 3, 150, 150), 0.5)), net(torch.rand(1, 3, 150, 150))
    assert 0.5 < float(flat.norm()) < 4
    assert 0.5 < float(noise.norm()) < 4
