"""Arrays that are cached: built once by two who want them, whole or not there, built again when damaged."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.stores.cached_array import cached_array


def test_two_that_want_an_array_build_it_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(path: Path) -> None:
        built.append(path)
        np.save(path, np.arange(4))

    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(cached_array(tmp_path, {'a': 1}, build).tolist()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and results == [[0, 1, 2, 3]] * 4


def test_an_array_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        np.save(path, np.arange(9))
        raise RuntimeError('power cut')

    with pytest.raises(RuntimeError, match='power cut'):
        cached_array(tmp_path, {'a': 1}, fail)
    assert not any(path.is_dir() for path in tmp_path.iterdir())
    assert cached_array(tmp_path, {'a': 1}, lambda path: np.save(path, np.arange(2))).tolist() == [0, 1]
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='cannot be written.*FSR_DATASETS'):
        cached_array(tmp_path / 'file', {'a': 1}, fail)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize('file', ['array.npy', 'about.json'])
@pytest.mark.parametrize('damage', [cut, change, Path.unlink, lambda path: path.write_text('[]')])
def test_a_damaged_array_is_reported_and_built_again(
    tmp_path: Path, file: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def wanted() -> list[int]:
        return cached_array(tmp_path, {'a': 1}, lambda path: np.save(path, np.arange(5))).tolist()

    wanted()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(folder / file)
    with caplog.at_level(logging.WARNING):
        assert wanted() == [0, 1, 2, 3, 4]
    assert 'is damaged; it is built again' in caplog.text and str(folder) in caplog.text
    assert json.loads((folder / 'about.json').read_text())['about'] == {'a': 1}
    caplog.clear()
    assert wanted() == [0, 1, 2, 3, 4] and not caplog.text
