"""The linear baselines: against least squares by NumPy at every rank, resumed, and said where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

import fsr_plugins
from fsr_plugins.archs.linear import LinearFace
from fsr_plugins.checkpoints import load_state
from fsr_plugins.cli import main
from fsr_plugins.models import LinearModel

RIDGE = 0.05


def faces(number: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """LR (N, 1, 3, 3) and HR (N, 1, 6, 6) that depend on it, with noise."""
    generator = np.random.default_rng(0)
    lq = generator.random((number, 9))
    gt = lq @ generator.normal(size=(9, 36)) * 0.2 + 0.3 + 0.02 * generator.normal(size=(number, 36))
    return torch.tensor(lq).float().view(-1, 1, 3, 3), torch.tensor(gt).float().view(-1, 1, 6, 6)


def fitted(rank: int, batches: int = 4, precision: str = 'fp32') -> LinearFace:
    block = {'type': 'LinearFace', 'size': 3, 'scale': 2, 'rank': rank, 'num_ch': 1}
    options = tiny.stage({'ridge': RIDGE}, scale=2, degradation=None, network_g=block, precision=precision)
    model = LinearModel(options)
    lq, gt = faces()
    for step, (few_lq, few_gt) in enumerate(zip(lq.chunk(batches), gt.chunk(batches), strict=True), start=1):
        model.lq, model.gt = few_lq, few_gt
        model.optimize_parameters(step)
    model.solve()
    return model.net_g


def by_numpy(rank: int) -> np.ndarray:
    """SR by ridge regression on centred values, then the best matrix of that rank for the same objective."""
    lq, gt = (images.flatten(1).double().numpy() for images in faces())
    x, y = lq - lq.mean(0), gt - gt.mean(0)
    penalty = RIDGE * (x * x).mean() * len(x)
    # Rows of zeros that cost what the penalty does.
    more_x, more_y = np.vstack([x, np.sqrt(penalty) * np.eye(9)]), np.vstack([y, np.zeros((9, 36))])
    weights = np.linalg.lstsq(more_x, more_y, rcond=None)[0]
    _, _, directions = np.linalg.svd(more_x @ weights)
    return x @ weights @ directions[:rank].T @ directions[:rank] + gt.mean(0)


@pytest.mark.parametrize('rank', [0, 1, 4, 9, 500])
def test_it_is_ridge_regression(rank: int) -> None:
    sr = fitted(rank)(faces()[0])
    np.testing.assert_allclose(sr.flatten(1).numpy(), by_numpy(rank), atol=2e-5)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_the_solution_is_exact_in_every_number_format(precision: str) -> None:
    assert torch.equal(fitted(4, precision=precision)(faces()[0]), fitted(4)(faces()[0]))


def test_how_the_set_comes_in_batches_does_not_matter() -> None:
    lq = faces()[0]
    torch.testing.assert_close(fitted(4, 1)(lq), fitted(4, 8)(lq), rtol=0, atol=2e-5)


def test_a_higher_rank_fits_better() -> None:
    lq, gt = faces()
    errors = [(fitted(rank)(lq) - gt).square().mean().item() for rank in (0, 1, 4, 9)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.2 * errors[0]


def options(folder: Path, total: int, **block: object) -> Path:
    values = tiny.options() | {'name': f'linear_{total}', 'model_type': 'LinearModel'}
    values['network_g'] = {'type': 'LinearFace', 'size': 4, 'scale': 4, 'rank': 3} | block
    values['train'] = {'total_iter': total}
    return tiny.write_options(folder / f'{total}.yml', values)


def test_it_trains_like_any_model_and_goes_on_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces', size=16)
    assert main(['train', '-opt', str(options(tmp_path, 6))]) == 0
    short = options(tmp_path, 4)
    assert main(['train', '-opt', str(short)]) == 0
    assert main(['train', '-opt', str(short), '--set', 'train.total_iter=6']) == 0
    files = [tmp_path / f'experiments/linear_{total}/train/models/net_g_latest.pth' for total in (6, 4)]
    whole, resumed = (load_state(file)['params'] for file in files)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole) and whole['up'].abs().max() > 0
    net = fsr_plugins.load(files[0])
    assert net(torch.rand(2, 3, 4, 4)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ('block', 'said'),
    [
        ({'size': 5}, "'network_g' is for LR of (3, 5, 5)"),
        ({'rank': -1}, 'rank -1'),
        ({'type': 'EDSR', **tiny.EDSR}, 'LinearModel fits a LinearFace, not a EDSR'),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    block: dict[str, object],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces', size=16)
    file = options(tmp_path, 6, **block)
    if block.get('type') == 'EDSR':
        values = tiny.options() | {'model_type': 'LinearModel', 'train': {'total_iter': 2}}
        tiny.write_options(file, values)
    assert main(['train', '-opt', str(file)]) == 2
    assert said in capsys.readouterr().err
