"""A batch for which the memory is too small is refused before it is made; the kernel would end the process."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import tiny
import torch
from torch import nn

from fsr_plugins import threads
from fsr_plugins.cli import main
from fsr_plugins.errors import UserError
from fsr_plugins.preflight import memory

MB = 10**6


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces', 12, 32)
    return tiny.write_options(tmp_path / 'o.yml', tiny.options())


@pytest.mark.parametrize('size', [10**6, 10**13])
def test_a_training_batch_that_no_memory_holds(size: int, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '-opt', str(file), '--set', f'datasets.train.batch_size_per_gpu={size}']) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('error')]
    assert f"key 'datasets.train.batch_size_per_gpu' is {size}, and such a batch needs about" in line
    assert 'GB are free: lower it.' in line


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=size))


def test_a_validation_batch_that_no_memory_holds(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free(monkeypatch, MB)
    arguments = ['-opt', str(file), '--set', 'datasets.train.batch_size_per_gpu=1']
    assert main(['doctor', *arguments, '--set', 'datasets.val.batch_size_per_gpu=12']) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('error')]
    assert 'o.yml' in line or '--set' in line
    assert "key 'datasets.val.batch_size_per_gpu' is 12, and such a batch needs about 0.0 GB of memory" in line
    assert main(['doctor', *arguments, '--set', 'datasets.val.batch_size_per_gpu=1']) == 0


def test_what_is_said_is_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 3, 3))

    def step(number: int) -> None:
        net(torch.rand(number, 3, 32, 32)).square().mean().backward()
        net.zero_grad(set_to_none=True)

    free(monkeypatch, 300 * MB)
    with pytest.raises(UserError) as caught:
        memory.check_fits(step, 5000, 3 * 32 * 32, "key 'datasets.train")
    (said,) = re.findall(r'about ([\d.]+) GB', str(caught.value))
    batches = 2 * 5000 * 3 * 32 * 32
    truth = memory._peak(lambda: step(200)) * 25 + batches
    assert float(said) == pytest.approx(truth / 1e9, rel=0.1)
    free(monkeypatch, int(truth * 1.2))
    memory.check_fits(step, 5000, 3 * 32 * 32, "key 'datasets.train")


def test_a_usual_batch_costs_no_trial() -> None:
    memory.check_fits(lambda number: pytest.fail('nothing is tried'), 32, 3 * 128 * 128 // 4, "key 'x")


def test_what_a_few_images_cannot_do_is_left_to_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(number: int) -> None:
        raise ValueError('a batch has at least 8 images')

    free(monkeypatch, 100 * MB)
    memory.check_fits(fails, 1000, 10_000, "key 'x")
    with pytest.raises(UserError, match=r'needs about 0\.7 GB'):
        memory.check_fits(fails, 10_000, 10_000, "key 'x")


def test_threads_without_end_are_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for phase in ('train', 'val'):
        assert main(['doctor', '-opt', str(file), '--set', f'datasets.{phase}.num_worker_per_gpu=100000']) == 2
        assert f"key 'datasets.{phase}.num_worker_per_gpu' is 100000, but must be" in capsys.readouterr().err


@pytest.mark.parametrize(('limit', 'free'), [('1000000', 800_000), ('150000', 0), ('max', None)])
def test_a_container_may_have_less(
    limit: str, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=5 * MB))
    (tmp_path / 'memory.max').write_text(f'{limit}\n')
    (tmp_path / 'memory.stat').write_text('anon 150000\nfile 900000\nshmem 50000\n')
    monkeypatch.setattr(threads, '_CONTAINER', tmp_path)
    assert threads.available_memory() == (5 * MB if free is None else free)
