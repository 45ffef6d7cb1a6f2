"""Option files are read while another process writes what an imported library keeps."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from types import ModuleType

import pytest

from fsr_plugins.config import yamlfile


@pytest.mark.parametrize('error', [EOFError('Ran out of input'), pickle.UnpicklingError('pickle data was truncated')])
@pytest.mark.parametrize('disturbed', [0, 2, 100])
def test_reading_waits_for_the_other_process(
    error: Exception, disturbed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = importlib.import_module, [disturbed]

    def disturbed_import(name: str, package: str | None = None) -> ModuleType:
        if name == 'mmengine.config' and left[0]:
            left[0] -= 1
            raise error
        return real(name, package)

    monkeypatch.setattr(importlib, 'import_module', disturbed_import)
    monkeypatch.setattr(yamlfile, '_PAUSE', 0)
    (tmp_path / 'base.yml').write_text('a: {b: 1, c: 2}\n')
    (tmp_path / 'o.yml').write_text('_base_: base.yml\na: {c: 3}\n')
    if disturbed < 20:
        assert yamlfile.read(tmp_path / 'o.yml').values == {'a': {'b': 1, 'c': 3}}
        assert not left[0]
    else:
        with pytest.raises(type(error)):
            yamlfile.read(tmp_path / 'o.yml')
