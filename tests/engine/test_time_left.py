"""How long a training still takes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fsr_plugins.config.schema import LoggerOptions
from fsr_plugins.engine import logs


@pytest.mark.parametrize(
    ('total', 'left'), [(101, '00:01:40'), (3_661, '01:01:00'), (108_001, '30:00:00'), (10**12 + 1, '277777777:46:40')]
)
def test_days_are_hours(
    total: int, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(logs.time, 'perf_counter', lambda: clock[0])
    with caplog.at_level(logging.INFO, 'fsr_plugins'):
        log = logs.StageLog(tmp_path, LoggerOptions(use_tb_logger=False), total=total, name='small')
        log.begin(0)
        clock[0] = 1.0
        log.losses(1, 0, [1e-4], {'l_pix': 0.5})
        log.close()
    assert (tmp_path / 'train.log').read_text().endswith(f'1.00 it/s  ETA {left}\n')
