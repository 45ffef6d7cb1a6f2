"""One writer an experiment: the lock, who holds it, and what a dead process leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fsr_plugins import config, pipeline
from fsr_plugins.cli import main
from fsr_plugins.engine.lock import LOCK, NOTE, only_writer
from fsr_plugins.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from fsr_plugins.engine.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(60)
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == 'held\n'
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_live_writer_is_named_and_readers_pass(experiment_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.run(config.load(experiment_file))
    folder = experiment_file.parent / 'experiments/small'
    arguments = ['-opt', str(experiment_file)]
    with held(folder) as process:
        since = json.loads((folder / NOTE).read_text())['since']
        capsys.readouterr()
        assert main(['train', *arguments]) == 2
        message = capsys.readouterr().err
        assert (
            f"'{folder}' is in use: process {process.pid} on {socket.gethostname()}, since {since}, writes" in message
        )
        assert main(['test', *arguments]) == 0
        assert main(['doctor', *arguments]) == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / LOCK).exists()
        assert main(['train', *arguments]) == 0
    assert not (folder / LOCK).exists() and not (folder / NOTE).exists()


def test_it_leaves_nothing_where_nothing_was_written(tmp_path: Path) -> None:
    folder = tmp_path / 'experiments/small'
    with only_writer(folder):
        assert json.loads((folder / NOTE).read_text())['process'] == os.getpid()
        with pytest.raises(UserError, match=f'process {os.getpid()} on'), only_writer(folder):
            pass
        assert (folder / NOTE).exists()
    assert not list(tmp_path.iterdir())
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match='stop'), only_writer(folder):
        raise ValueError('stop')
    assert folder.is_dir() and not list(folder.iterdir())


@pytest.mark.parametrize('note', ['', '{}', '[]', '\x00'])
def test_a_note_that_cannot_be_read_is_no_obstacle(tmp_path: Path, note: str) -> None:
    with only_writer(tmp_path):
        (tmp_path / NOTE).write_text(note)
        with pytest.raises(UserError, match='is in use: another process writes there'), only_writer(tmp_path):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'experiments').write_text('a file')
    with (
        pytest.raises(UserError, match='The results cannot be written to .*experiments/small'),
        only_writer(tmp_path / 'experiments/small'),
    ):
        pass


def test_every_command_that_writes_asks(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(experiment_file.parent)
    experiment = config.load(experiment_file)
    with only_writer(experiment.folder):
        with pytest.raises(UserError, match='is in use'):
            pipeline.run(experiment)
        assert not (experiment.folder / 'first').exists()
