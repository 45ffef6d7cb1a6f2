"""One process alone builds a thing: others wait and say so, and a killed process is in nobody's way."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.stores.once import only_one


@contextmanager
def builder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the right to build ``path`` until it is killed."""
    code = (
        'import sys\n'
        'from pathlib import Path\n'
        'from fsr_plugins.stores.once import only_one\n'
        'with only_one(Path(sys.argv[1])):\n'
        "    print('holds', flush=True)\n"
        '    sys.stdin.read()\n'
    )
    command = [sys.executable, '-c', code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == 'holds\n'
            yield process
        finally:
            process.kill()


def test_a_second_process_says_that_it_waits_until_the_first_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, entered = tmp_path / 'new' / 'thing', threading.Event()

    def wait() -> None:
        with only_one(path):
            entered.set()

    with caplog.at_level(logging.INFO), builder(path) as process:
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(1)
        assert f'Waiting for the process that builds {path}.' in caplog.messages
        process.kill()
        assert entered.wait(20)
        thread.join()


def test_the_right_is_given_back_and_the_file_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'thing.lmdb'
    with pytest.raises(RuntimeError, match='power cut'), only_one(path):
        raise RuntimeError('power cut')
    assert [found.name for found in tmp_path.iterdir()] == ['.thing.lmdb.lock']
    with caplog.at_level(logging.INFO), only_one(path):
        pass
    assert not caplog.messages


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r"file' cannot be written .*FSR_DATASETS"), only_one(tmp_path / 'file' / 'x'):
        pass
    (tmp_path / '.thing.lock').mkdir()
    with pytest.raises(UserError, match='cannot be written .*directory'), only_one(tmp_path / 'thing'):
        pass
