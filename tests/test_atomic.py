"""Files that are whole or not there, and the temporary ones of processes that are dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsr_plugins import atomic
from fsr_plugins.atomic import check_writable, write_atomically, write_text
from fsr_plugins.errors import RunError, UserError

LEAVE_ONE = """
import os, sys
from pathlib import Path
from fsr_plugins.atomic import write_atomically
write_atomically(Path(sys.argv[1]), lambda file: (file.write(b'half'), file.flush(), os.kill(os.getpid(), 9)))
"""


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ('n' * 251 + '.png')
    write_text(path, 'all')
    assert path.read_text() == 'all' and os.listdir(tmp_path) == [path.name]


def test_a_file_in_place_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'mine')
    with pytest.raises(UserError, match="Cannot write .*sub/a: '.*/file' is no folder. Move it away"):
        write_text(tmp_path / 'file/sub/a', 'x')
    with pytest.raises(UserError, match="-o .*'.*file' cannot be written"):
        check_writable(tmp_path / 'file/sub', '-o')
    with pytest.raises(UserError, match='too long a name'):
        check_writable(tmp_path / ('x' * 256), '-o')
    check_writable(tmp_path / 'new/folder', '-o')
    assert os.listdir(tmp_path) == ['file']


def test_the_first_error_is_told_where_nothing_can_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(Path, 'unlink', read_only)
    monkeypatch.setattr(os, 'replace', read_only)
    with pytest.raises(RunError, match='Read-only file system'):
        write_text(tmp_path / 'a', 'x')


def test_whatever_goes_wrong_leaves_no_temporary_file(tmp_path: Path) -> None:
    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / 'a', stopped)
    assert os.listdir(tmp_path) == []


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / 'result.bin'
    for _ in range(2):
        assert subprocess.run([sys.executable, '-c', LEAVE_ONE, str(path)]).returncode == -9
    left = os.listdir(tmp_path)
    assert len(left) == 1  # the second has removed that of the first
    living = tmp_path / f'.{"0" * 16}.{atomic._HOST}.{os.getppid()}.part'
    elsewhere = tmp_path / f'.{"0" * 16}.elsewhere.{2**22 + 1}.part'
    for file in (living, elsewhere):
        file.write_bytes(b'')
    write_text(path, 'whole')
    assert set(os.listdir(tmp_path)) == {path.name, living.name, elsewhere.name}
