"""``fsr export``: files that make the network's own images, without this toolkit."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_dapfsr
import torch
from torch import Tensor, nn

import fsr_plugins
from fsr_plugins.checkpoints import save_network
from fsr_plugins.checkpoints.bundled import bundled
from fsr_plugins.cli import main
from fsr_plugins.edges import canny_cv2
from fsr_plugins.registry import ARCH_REGISTRY, build_network
from fsr_plugins.restore import exporting
from fsr_plugins.weights import file_sha256

needs_onnx = pytest.mark.skipif(find_spec('onnxruntime') is None, reason='needs the extra export')
FILES = [pytest.param('net.onnx', marks=needs_onnx), 'net.pt2']

#: Reads a file as somebody would who has never heard of this toolkit, and keeps what it makes of ``lq.npy``.
STRANGER = """
import sys, numpy, torch
lq = numpy.load('lq.npy')
if sys.argv[1].endswith('.onnx'):
    import onnxruntime
    sr = onnxruntime.InferenceSession(sys.argv[1]).run(['sr'], {'lq': lq})[0]
else:
    sr = torch.export.load(sys.argv[1]).module()(torch.from_numpy(lq)).numpy()
numpy.save('sr.npy', sr)
sys.exit(any(name.split('.')[0] in ('fsr_plugins', 'basicsr', 'cv2') for name in sys.modules))
"""


class Weighted(nn.Module):
    """A checkpoint of a network without any weight is none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class Random(Weighted):
    """No two calls give the same."""

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, h, w) to (N, 3, 4h, 4w)."""
        enlarged = lq.repeat_interleave(4, 2).repeat_interleave(4, 3)
        return enlarged + torch.rand_like(enlarged)


class Diverging(Weighted):
    """Enlarges black faces; of any other it makes no finite number."""

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, h, w) to (N, 3, 4h, 4w)."""
        enlarged = lq.repeat_interleave(4, 2).repeat_interleave(4, 3)
        return torch.where(enlarged > 0, torch.full_like(enlarged, float('nan')), enlarged * self.weight)


class Edges(Weighted):
    """The edges of an image, without enlarging: what TSNetSR asks of an exported graph."""

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, h, w) to (N, 3, h, w), 0 or 1."""
        return canny_cv2(lq).expand(-1, 3, -1, -1)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The classes of this file can be checkpoints' archs; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    for cls in (Random, Edges, Diverging):
        ARCH_REGISTRY.register(cls)
    yield
    for cls in (Random, Edges, Diverging):
        del ARCH_REGISTRY._obj_map[cls.__name__]


def checkpoint(block: dict[str, Any], scale: int = 4, size: int | None = 32) -> nn.Module:
    """Writes ``net.pth``, a network at random trained on HR of this size, and gives it back loaded."""
    torch.manual_seed(0)
    meta = {'arch': block, 'scale': scale, 'sizes': {'train': size}, 'net': 'net_g', 'iteration': 7, 'experiment': 'x'}
    save_network(Path('net.pth'), {'params': build_network(block)}, meta)
    return fsr_plugins.load('net.pth')


def export(file: str, *arguments: str) -> dict[str, Any]:
    assert main(['export', '-c', 'net.pth', '-o', file, '--json', 'found.json', *arguments]) == 0
    return json.loads(Path('found.json').read_text())


def images_of(file: str, lq: Tensor) -> Tensor:
    """What the exported file makes, in this process."""
    with torch.no_grad():
        return exporting.FORMATS[Path(file).suffix].read(Path(file).read_bytes())(lq)


# ---- what a file holds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('file', FILES)
def test_a_stranger_gets_the_networks_images_of_any_number_of_faces(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = checkpoint(tiny.EDSR)
    found = export(file)
    assert capsys.readouterr().out.startswith(f'{file}: lq batch×3×8×8 to sr batch×3×32×32, RGB in [0, 1], ')
    assert found['largest'] < 1e-5 and found['bytes'] == Path(file).stat().st_size
    for number in (1, 5):
        lq = torch.rand(number, 3, 8, 8)
        np.save('lq.npy', lq.numpy())
        done = subprocess.run([sys.executable, '-c', STRANGER, file], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with torch.no_grad():
            np.testing.assert_allclose(np.load('sr.npy'), net(lq).clamp(0, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize('file', FILES)
def test_a_file_says_what_it_is_and_not_where_it_was_made(file: str) -> None:
    checkpoint(tiny.EDSR)
    export(file)
    about = json.loads(described(file))
    assert (about['scale'], about['lq'], about['sr']) == (4, ['batch', 3, 8, 8], ['batch', 3, 32, 32])
    assert (about['range'], about['channels']) == ([0.0, 1.0], 'RGB')
    assert about['arch'] == tiny.EDSR and about['sha256'] == file_sha256(Path('net.pth'))
    assert (about['experiment'], about['net'], about['iteration']) == ('x', 'net_g', 7)
    content = Path(file).read_bytes()
    for module in (fsr_plugins, torch):
        assert str(Path(str(module.__file__)).parent).encode() not in content


def described(file: str) -> str:
    """What a file says of itself, read as the documentation of its format does."""
    if file.endswith('.pt2'):
        texts = {'fsr_plugins.json': ''}
        torch.export.load(io.BytesIO(Path(file).read_bytes()), extra_files=texts)
        return texts['fsr_plugins.json']
    import onnx

    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    return next(entry.value for entry in model.metadata_props if entry.key == 'fsr_plugins')


@pytest.mark.parametrize('file', FILES)
def test_edges_inside_a_graph_are_opencvs(file: str) -> None:
    """Long thin edges: hysteresis has to dilate more often than one round of it."""
    checkpoint({'type': 'Edges'}, scale=1, size=96)
    export(file)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing='ij')
    spiral = torch.atan2(y - 48, x - 48) + torch.hypot(y - 48, x - 48) / 3
    fading = 0.5 + spiral.sin() * (0.05 + 0.45 * x / 96)  # strong at one end only
    lq = torch.stack([fading, 1 - fading, x / 200])[:, None].expand(-1, 3, -1, -1).contiguous()
    lq = torch.cat([lq, torch.rand(1, 3, 96, 96), torch.zeros(1, 3, 96, 96)])
    edges = canny_cv2(lq)
    assert edges[0].sum() > 500 and edges[4].sum() == 0
    assert torch.equal(images_of(file, lq)[:, :1], edges)


#: Methods whose graphs take ten seconds and more to be traced.
LARGE_GRAPHS = {'tsnet', 'dapfsr'}

#: Arch, scale and size of HR.
NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {
    'tsnet': ({'type': 'TSNetSR', 'num_feat': 8, 'num_groups': 2, 'canny_thresholds': [2, 4]}, 4, 32),
    'pkdn': ({'type': 'PKDNStudent', 'num_feat': 4, 'num_block': 1, 'squeeze_factor': 2}, 8, 128),
    'isrkd': ({'type': 'ISRKDGenerator', 'num_feat': 8}, 8, 128),
    'cface': ({'type': 'SRGANGenerator', 'num_feat': 8, 'num_block': 2}, 4, 128),
    'dapfsr': (tiny_dapfsr.dapfsr(tiny_dapfsr.ENCODER), 4, tiny_dapfsr.SIZE),
}


@pytest.mark.parametrize('file', FILES)
@pytest.mark.parametrize(
    'method', [pytest.param(name, marks=pytest.mark.long) if name in LARGE_GRAPHS else name for name in NETWORKS]
)
def test_every_methods_network(method: str, file: str) -> None:
    block, scale, size = NETWORKS[method]
    net = checkpoint(block, scale, size)
    assert export(file)['lq'] == ['batch', 3, size // scale, size // scale]
    lq = torch.rand(2, 3, size // scale, size // scale)
    with torch.no_grad():
        expected = net(lq).clamp(0, 1)
    assert expected.std() > 0.01
    torch.testing.assert_close(images_of(file, lq), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('file', FILES)
def test_a_network_that_counts_its_faces_is_exported_for_one(file: str) -> None:
    block = {
        'type': 'SwinIR', 'upscale': 4, 'in_chans': 3, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 8,
        'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
    }  # fmt: skip
    net = checkpoint(block)
    assert export(file)['lq'] == [1, 3, 8, 8]
    lq = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(images_of(file, lq), net(lq).clamp(0, 1), atol=1e-5, rtol=0)


def test_other_weights_than_those_asked_for_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    save_network(Path('net.pth'), {'params': build_network(tiny.EDSR)}, {'arch': tiny.EDSR, 'scale': 4})
    export('net.pt2', '--size', '6', '9', '--param-key', 'params_ema')
    assert "'net.pth' has no weights under 'params_ema': using 'params'." in capsys.readouterr().out


def test_another_size_and_other_weights() -> None:
    torch.manual_seed(0)
    nets = {key: build_network(tiny.EDSR) for key in ('params', 'params_ema')}
    save_network(Path('net.pth'), nets, {'arch': tiny.EDSR, 'scale': 4})
    export('net.pt2', '--size', '6', '9', '--param-key', 'params')
    lq = torch.rand(1, 3, 6, 9)
    with torch.no_grad():
        torch.testing.assert_close(images_of('net.pt2', lq), nets['params'](lq).clamp(0, 1))


# ---- what is refused -------------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(['export', '-c', 'net.pth', *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith('fsr: error: ') and 'Traceback' not in printed.err
    return printed.err


def test_bad_requests_end_with_one_message(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "There is no weight file 'net.pth'" in refused(capsys, '-o', 'net.pt2')
    checkpoint(tiny.EDSR, size=None)
    assert 'must end with one of .onnx, .pt2' in refused(capsys, '-o', 'net.trt')
    assert 'give --size HEIGHT WIDTH' in refused(capsys, '-o', 'net.pt2')
    assert 'at least 1' in refused(capsys, '-o', 'net.pt2', '--size', '0', '8')
    Path('net.pt2').write_text('mine')
    assert 'give --overwrite' in refused(capsys, '-o', 'net.pt2', '--size', '8', '8')
    assert Path('net.pt2').read_text() == 'mine'
    Path('folder.pt2').mkdir()
    assert 'exists already' in refused(capsys, '-o', 'folder.pt2', '--size', '8', '8', '--overwrite')
    monkeypatch.setattr(exporting, 'find_spec', lambda name: None)
    assert "pip install 'fsr_plugins[export]'" in refused(capsys, '-o', 'net.onnx', '--size', '8', '8')


def test_what_does_not_enlarge_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(tiny.EDSR, scale=2, size=16)
    assert 'does not enlarge faces 2 times' in refused(capsys, '-o', 'net.pt2')
    assert not Path('net.pt2').exists()


def test_what_cannot_be_repeated_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint({'type': 'Random'})
    assert 'draw random numbers' in refused(capsys, '-o', 'net.pt2')
    assert not Path('net.pt2').exists()


@pytest.mark.parametrize('file', FILES)
def test_what_makes_no_finite_numbers_is_not_written(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint({'type': 'Diverging'})
    assert 'differs from what the network makes by nan' in refused(capsys, '-o', file)
    assert not Path(file).exists()


@pytest.mark.parametrize('size', [('1000000000', '1000000000'), ('100000', '1000')])
def test_a_size_beyond_any_picture_is_refused(size: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(tiny.EDSR)
    assert 'together at most' in refused(capsys, '-o', 'net.pt2', '--size', *size)


@pytest.mark.parametrize(
    'name', [name if name == 'face_x4' else pytest.param(name, marks=pytest.mark.long) for name in bundled()]
)
def test_a_bundled_network_is_exported_by_its_name(name: str) -> None:
    assert main(['export', '-c', name, '-o', 'net.pt2', '--json', 'found.json']) == 0
    assert json.loads(Path('found.json').read_text())['sha256'] == bundled()[name]
