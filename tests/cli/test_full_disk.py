"""A disk that is full ends every command with a sentence and status 1, and nothing half written stays."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from fsr_plugins.atomic import writing
from fsr_plugins.cli import main
from fsr_plugins.errors import DiskError
from fsr_plugins.stores.lmdb_writer import LmdbWriter
from fsr_plugins.weights import WeightFile, locate

PORTRAITS = 'studio/train?number=300&size=64'
FSR = 'import sys; from fsr_plugins.cli import main; sys.exit(main(sys.argv[1:]))'
needs_full = pytest.mark.skipif(not Path('/dev/full').exists(), reason='Linux')


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may be longer than 6 kB: the system's answer is an error, as of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith('.lock'))


@pytest.mark.parametrize('name', ['out', 'out.lmdb'])
def test_prepare_ends_with_a_sentence(
    name: str, tmp_path: Path, no_room: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['prepare', 'portraits', 'studio/train?number=4&size=128', str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f'fsr: error: Cannot write {tmp_path / name}: ') and said.count('\n') == 1
    assert 'Make room' in said
    assert left_in(tmp_path) == []


def test_faces_that_training_draws_end_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_room: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'drawn'))
    options = tiny.options()
    for phase in ('train', 'val'):
        options['datasets'][phase]['dataroot_gt'] = f'portraits://studio/{phase}?number=4&size=64'
    file = tiny.write_options(tmp_path / 'o.yml', options)
    assert main(['train', '-opt', str(file)]) == 1
    said = capsys.readouterr().err
    assert said.count('Cannot write') == 1 and said.count('\n') == 1
    assert not list((tmp_path / 'drawn').rglob('*.partial'))


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_every_way_to_say_it_is_known(number: int, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=os.strerror(number)), writing(tmp_path):
        raise OSError(number, os.strerror(number))


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / 'none').read_bytes()


def test_weights_that_do_not_fit_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'kept'))
    monkeypatch.delenv('FSR_OFFLINE', raising=False)
    source = tmp_path / 'w.pth'
    source.write_bytes(bytes(20_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        with pytest.raises(DiskError, match='Make room'):
            locate(WeightFile('the tested', source.as_uri(), '0' * 64, 'w.pth'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.long
@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_drawing_leaves_nothing(how: int, tmp_path: Path) -> None:
    command = [sys.executable, '-c', FSR, 'prepare', 'portraits', 'studio/train?number=9999&size=64']
    process = subprocess.Popen([*command, str(tmp_path / 'out')], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob('*.png')) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + how and 'Traceback' not in said
    assert left_in(tmp_path) == []


@needs_full
@pytest.mark.parametrize('arguments', [['list', 'archs'], ['--help'], ['prepare', '--help']])
def test_output_that_cannot_be_written_is_said(arguments: list[str]) -> None:
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, '-c', FSR, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.startswith('fsr: error: ') and 'No space left on device' in done.stderr
    assert done.stderr.count('\n') == 1


def test_a_reader_that_has_gone_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, '-c', FSR, 'list', 'archs'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b''
    process.stderr.close()


@needs_full
def test_found_that_cannot_be_written_is_a_failed_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['list', 'archs', '--json', '/dev/full']) == 1
    assert (
        capsys.readouterr().err
        == 'fsr: error: --json /dev/full: cannot be written: No space left on device. Make room.\n'
    )


@needs_full
def test_a_training_goes_on_without_its_lines(tmp_path: Path) -> None:
    tiny.write_faces(tmp_path / 'faces')
    file = tiny.write_options(tmp_path / 'o.yml', tiny.options())
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, '-c', FSR, 'train', '-opt', str(file)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert [line.partition(':')[0] for line in done.stderr.splitlines()] == ['fsr', 'fsr']
    assert 'goes on' in done.stderr and 'summary.json' in done.stderr and 'Traceback' not in done.stderr
    (log,) = tmp_path.glob('experiments/tiny/**/train.log')
    assert ' 4/4 ' in log.read_text()
    assert (tmp_path / 'experiments/tiny/summary.json').exists()


def test_an_lmdb_that_cannot_be_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OverflowError), LmdbWriter(tmp_path / 'x.lmdb', map_size=-1):
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize('arguments', [('list', 'metrics'), ('options', '--reference')])
def test_a_standard_output_that_is_closed_is_said(arguments: tuple[str, ...]) -> None:
    code = 'import sys; from fsr_plugins.cli import main; sys.exit(main())'
    command = f'{shlex.quote(sys.executable)} -c {shlex.quote(code)} {shlex.join(arguments)} >&-'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith('fsr: error: ') and 'Bad file descriptor' in line
