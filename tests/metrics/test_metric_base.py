"""The mean over batches and over processes."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fsr_plugins.errors import UserError
from fsr_plugins.metrics import PSNR
from fsr_plugins.metrics.base import figures_of
from fsr_plugins.registry import build

RNG = np.random.default_rng(0)
SR, GT = (torch.from_numpy(RNG.integers(0, 256, (7, 3, 12, 12))).float() / 255 for _ in range(2))


def test_mean_does_not_depend_on_the_batches() -> None:
    metric = PSNR()
    results = []
    for size in (1, 3, 7):
        for sr, gt in zip(SR.split(size), GT.split(size), strict=True):
            metric.update(sr, gt, {})
        results.append(metric.compute()['psnr'])
    expected = np.mean([10 * np.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(SR.numpy(), GT.numpy(), strict=True)])
    assert results == pytest.approx([expected] * 3, abs=1e-5)


def test_compute_starts_afresh() -> None:
    metric = PSNR()
    metric.update(SR, GT, {})
    metric.compute()
    with pytest.raises(UserError, match='saw no image'):
        metric.compute()


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        (torch.tensor(1.0), 'a tensor of shape ()'),
        (torch.ones(7, 1), 'a tensor of shape (7, 1)'),
        ([1.0] * 7, 'a list'),
        (None, 'None'),
    ],
)
def test_values_of_another_shape_name_the_metric(values: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PSNR, 'values', lambda self, sr, gt: values)
    wanted = "The metric 'PSNR' must give one value for each image, a tensor of shape (7,), and gave "
    with pytest.raises(UserError, match=re.escape(f'{wanted}{said}.')):
        PSNR().update(SR, GT, {})


@pytest.mark.parametrize(
    ('figures', 'said'), [(1.0, 'a float'), ({'psnr': [1.0]}, 'in a dict a list'), ({'psnr': None}, 'in a dict None')]
)
def test_figures_that_are_no_numbers_by_name(figures: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PSNR, 'compute', lambda self: figures)
    wanted = "'compute' of the metric 'PSNR' must give a dict of numbers, and gave "
    with pytest.raises(UserError, match=re.escape(f'{wanted}{said}.')):
        figures_of(PSNR())


def _gather(rank: int, port: int, out: Path) -> None:
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    metric = PSNR()
    part = slice(0, 5) if rank == 0 else slice(5, 7)
    metric.update(SR[part], GT[part], {})
    uneven = metric.compute()['psnr']
    if rank == 0:
        metric.update(SR, GT, {})
    one_idle = metric.compute()['psnr']
    (out / str(rank)).write_text(f'{uneven!r} {one_idle!r}')
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_figure_of_one(tmp_path: Path) -> None:
    """Shares of 5 and 2 images, then all images in one process and none in the other."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_gather, (port, tmp_path), nprocs=2)
    metric = PSNR()
    metric.update(SR, GT, {})
    expected = metric.compute()['psnr']
    for rank in range(2):
        values = [float(text) for text in (tmp_path / str(rank)).read_text().split()]
        assert values == pytest.approx([expected] * 2, rel=1e-12)


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({'type': 'PSNR', 'match': 'gian'}, "'match' of the metric 'psnr' is 'gian': choose one of none, gain, affine"),
        ({'type': 'SSIM', 'crop_border': 1.5}, "'crop_border' of the metric 'ssim' is 1.5: give a whole number"),
        ({'type': 'PSNR', 'crop_border': '4'}, "'crop_border' of the metric 'psnr' is 4: give a whole number"),
        ({'type': 'NIQE', 'crop_border': True}, "'crop_border' of the metric 'niqe' is True: give a whole number"),
        ({'type': 'NIQE', 'convert_to': 'Y'}, "'convert_to' of the metric NIQE is 'Y': choose one of y, gray"),
    ],
)
def test_values_that_a_command_line_may_hold_are_looked_at(block: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        build('metrics', block)
