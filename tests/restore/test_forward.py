"""The number format that a network is run in is the faster one, if the picture stays what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.atomic import cache_folder
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.restore import forward
from fsr_plugins.restore.forward import Forward, InferencePrecision

CPU = torch.device('cpu')


class Timed(nn.Module):
    """Enlarges by convolution, and takes its time in one of the formats."""

    def __init__(self, clock: list[float], slow: str, apart: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.clock, self.slow, self.apart = clock, slow, apart
        self.formats: list[str] = []

    def forward(self, lq: Tensor) -> Tensor:
        way = 'bf16' if torch.is_autocast_enabled('cpu') else 'fp32'
        self.formats.append(way)
        self.clock[0] += 5.0 if way == self.slow else 1.0
        return bicubic_up(lq, 2) * 0.5 + self.conv(bicubic_up(lq, 2)).float() * 0.01 + self.apart * (way == 'bf16')


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """Stands for time; a processor with instructions for bf16, on which nothing is known yet."""
    now = [0.0]
    monkeypatch.setattr(forward.time, 'perf_counter', lambda: now[0])
    monkeypatch.setattr(forward, 'computes_bf16', lambda device: True)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return now


def faces() -> Tensor:
    torch.manual_seed(1)
    return torch.rand(6, 3, 8, 8)


@pytest.mark.parametrize(('slow', 'apart', 'way'), [('fp32', 0, 'bf16'), ('bf16', 0, 'fp32'), ('fp32', 0.1, 'fp32')])
def test_the_faster_is_taken_if_it_makes_the_same_picture(
    clock: list[float], slow: str, apart: float, way: str
) -> None:
    net = Timed(clock, slow, apart).eval()
    with torch.inference_mode():
        sr = Forward(net, CPU)(faces())
    assert net.formats[-1] == way and sr.dtype == torch.float32 and sr.shape == (6, 3, 16, 16)


def test_what_was_found_out_is_kept(clock: list[float]) -> None:
    with torch.inference_mode():
        Forward(Timed(clock, 'fp32'), CPU)(faces())
        net = Timed(clock, 'bf16')
        Forward(net, CPU)(faces())
        # The same network on the same machine: not measured again. Another size is another matter.
        assert net.formats == ['bf16']
        Forward(net, CPU)(torch.rand(1, 3, 9, 9))
        assert net.formats[-1] == 'fp32' and len(net.formats) > 2


@pytest.mark.parametrize('content', [b'', b'[]', b'{"a": ', b'\xff'])
def test_a_damaged_record_is_measured_anew(clock: list[float], content: bytes) -> None:
    file = cache_folder() / 'forward.json'
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    net = Timed(clock, 'fp32')
    with torch.inference_mode():
        Forward(net, CPU)(faces())
    assert net.formats[-1] == 'bf16' and json.loads(file.read_bytes())


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_what_is_asked_for_is_taken_without_measuring(clock: list[float], precision: InferencePrecision) -> None:
    net = Timed(clock, precision)
    with torch.inference_mode():
        Forward(net, CPU, precision)(faces())
    assert net.formats == [precision]


def test_full_precision_is_the_networks_own(clock: list[float]) -> None:
    net = Timed(clock, 'bf16').eval()
    with torch.inference_mode():
        torch.testing.assert_close(Forward(net, CPU, 'fp32')(faces()), net(faces()), rtol=1e-5, atol=1e-6)


def test_a_processor_without_bf16(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, 'computes_bf16', lambda device: False)
    with pytest.raises(UserError, match='--precision bf16'):
        Forward(Timed(clock, 'fp32'), CPU, 'bf16')
    net = Timed(clock, 'fp32')
    with torch.inference_mode():
        Forward(net, CPU)(faces())
    assert net.formats == ['fp32']


class Enlarger(nn.Module):
    """What can be brought to ONNX: a convolution and a shuffle of pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lq: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.conv(lq) * 0.2 + 0.5, 2)


def many() -> Tensor:
    return torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_onnx_makes_the_networks_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('onnxscript')
    net, first = Enlarger().eval(), torch.rand(3, 3, 6, 10)
    with torch.inference_mode():
        run = Forward(net, CPU, engine='onnx')
        for lq in (first, many()):
            torch.testing.assert_close(run(lq), net(lq).clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(('faces', 'ways'), [(31, ['fp32']), (32, ['fp32', 'onnx'])])
def test_onnx_is_tried_for_many_faces_without_bf16(
    monkeypatch: pytest.MonkeyPatch, faces: int, ways: list[str]
) -> None:
    monkeypatch.setattr(forward, 'computes_bf16', lambda device: False)
    monkeypatch.setattr(forward, 'missing_packages', list)
    assert Forward(Enlarger(), CPU)._candidates(faces) == ways
    assert Forward(Enlarger(), CPU, engine='torch')._candidates(faces) == ['fp32']
    monkeypatch.setattr(forward, 'missing_packages', lambda: ['onnx'])
    assert Forward(Enlarger(), CPU)._candidates(faces) == ['fp32']


def test_a_network_that_onnx_does_not_take_runs_as_it_is(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, 'computes_bf16', lambda device: False)
    monkeypatch.setattr(forward, 'missing_packages', list)

    def refuse(net: nn.Module, size: tuple[int, int]) -> None:
        raise UserError('it cannot be brought to ONNX')

    monkeypatch.setattr(forward, 'onnx_function', refuse)
    net = Timed(clock, 'bf16').eval()
    with torch.inference_mode():
        laid_out = many().contiguous(memory_format=torch.channels_last)
        assert torch.equal(Forward(net, CPU)(many()), net(laid_out))


@pytest.mark.parametrize(
    ('device', 'precision', 'missing', 'message'),
    [
        ('cpu', 'bf16', [], 'leave out --precision bf16'),
        ('cuda', 'auto', [], 'runs on the CPU, not on cuda'),
        ('cpu', 'auto', ['onnxruntime'], r'needs onnxruntime: pip install'),
    ],
)
def test_onnx_where_it_cannot_be_had(
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    precision: InferencePrecision,
    missing: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(forward, 'missing_packages', lambda: missing)
    with pytest.raises(UserError, match=message):
        Forward(Enlarger(), torch.device(device), precision, 'onnx')


def test_half_precision_is_what_the_device_has(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it is taken without a measurement, and stays within some levels of full precision."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(32, 12, 3, padding=1))
    net.append(nn.PixelShuffle(2)).eval()
    ways: list[InferencePrecision] = ['fp32', 'half']
    with torch.inference_mode():
        exact, half = (Forward(net, CPU, way)(faces()) for way in ways)
    apart = (exact - half).abs() * 255
    assert half.dtype == torch.float32 and 0 < apart.max() < 4 and apart.mean() < 0.5
    assert Forward(net, torch.device('cuda'), 'half').format == 'fp16'
    with pytest.raises(UserError, match='leave out --half'):
        Forward(net, CPU, 'half', 'onnx')
    monkeypatch.setattr(forward, 'computes_bf16', lambda device: False)
    with pytest.raises(UserError, match='--half: cpu has no instructions for bf16'):
        Forward(net, CPU, 'half')
