"""Records on a disk that is full."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fsr_plugins.config.schema import LoggerOptions
from fsr_plugins.engine.logs import StageLog, package_logger
from fsr_plugins.errors import RunError

FULL = Path('/dev/full')
pytestmark = pytest.mark.skipif(not FULL.exists(), reason='Linux')


def stage_log(folder: Path) -> StageLog:
    log = StageLog(folder, LoggerOptions(use_tb_logger=False), total=4, name='small')
    log.begin(0)
    return log


def test_figures_that_cannot_be_written_end_the_run(tmp_path: Path) -> None:
    log = stage_log(tmp_path)
    log.record(1, {'losses': {}})
    (tmp_path / 'metrics.jsonl').unlink()
    (tmp_path / 'metrics.jsonl').symlink_to(FULL)
    with pytest.raises(RunError, match=r'Cannot write .*metrics\.jsonl: No space left on device'):
        log.record(2, {'losses': {}})
    log.close()


def test_a_log_that_cannot_be_written_is_given_up_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    (tmp_path / 'train.log').symlink_to(FULL)
    log = stage_log(tmp_path)
    package_logger.addHandler(handler)
    try:
        for _ in range(3):
            package_logger.log(logging.WARNING, 'a line')
    finally:
        package_logger.removeHandler(handler)
    log.close()
    (given_up,) = [message for message in said if 'cannot be written any more' in message]
    assert 'No space left on device' in given_up
    assert 'Traceback' not in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / 'small').write_text('a file')
    with pytest.raises(RunError, match=r'Cannot write .*train\.log'):
        StageLog(tmp_path / 'small', LoggerOptions(), total=4, name='small')
