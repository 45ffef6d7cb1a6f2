"""Our models and BasicSR's from the same weights on the same batches: the same losses, the same weights."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))

import compare_with_basicsr as compared  # noqa: E402

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'losses'),
    [
        ('EDSR', 20),
        ('SwinIR', 20),
        ('MSRGAN', 80),
        pytest.param('ESRGAN', 80, marks=pytest.mark.long),
        pytest.param('MSRGAN, net_d_iters 2', 44, marks=pytest.mark.long),
    ],
)
def test_twenty_iterations_are_basicsrs(tmp_path: Path, name: str, losses: int) -> None:
    found = compared.compare(compared.RECIPES[name], 20, tmp_path)
    assert found.losses == losses
    assert found.loss <= compared.LOSSES
    assert found.weights <= compared.WEIGHTS


def test_another_training_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translate = compared.translate

    def not_relativistic(opt: compared.Options) -> None:
        translate(opt)
        opt['train']['relativistic'] = False

    monkeypatch.setattr(compared, 'translate', not_relativistic)
    found = compared.compare(compared.RECIPES['ESRGAN'], 2, tmp_path)
    assert found.loss > 100 * compared.LOSSES
    monkeypatch.undo()
    recipe = dataclasses.replace(compared.RECIPES['EDSR'], network_g={**compared.RECIPES['EDSR'].network_g})
    monkeypatch.setattr(compared, '_write_weights', lambda recipe, folder: {})
    assert compared.compare(recipe, 1, tmp_path).weights > 100 * compared.WEIGHTS
