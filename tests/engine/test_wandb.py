"""Runs of Weights & Biases, by a module that stands for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fsr_plugins.config.schema import LoggerOptions
from fsr_plugins.engine.logs import StageLog
from fsr_plugins.errors import UserError

OPTIONS = LoggerOptions.model_validate({'wandb': {'project': 'faces'}})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of it, in order."""
    calls: list[str] = []

    def init(name: str, **_: Any) -> SimpleNamespace:
        if name == 'refused':
            raise RuntimeError('api_key not configured')
        calls.append(f'begin {name}')
        return SimpleNamespace(finish=lambda: calls.append(f'finish {name}'))

    monkeypatch.setitem(sys.modules, 'wandb', SimpleNamespace(init=init))
    monkeypatch.setattr('fsr_plugins.engine.logs._tensorboard', lambda *_: None)
    return calls


def test_each_stage_has_a_run_of_its_own(tmp_path: Path, calls: list[str]) -> None:
    for name in ('first', 'second'):
        log = StageLog(tmp_path / name, OPTIONS, total=4, name=name)
        log.begin(0)
        log.close()
    assert calls == ['begin first', 'finish first', 'begin second', 'finish second']


def test_a_run_that_cannot_be_begun_is_said(tmp_path: Path, calls: list[str]) -> None:
    log = StageLog(tmp_path, OPTIONS, total=4, name='refused')
    with pytest.raises(UserError, match=r"'logger\.wandb': the run cannot be begun: api_key not configured"):
        log.begin(0)
    log.close()
    assert calls == []
