"""Nothing that only Linux has is needed to import the package or to train with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny

#: As on a system that has neither; run before anything else is imported.
WITHOUT = """
import os, sys
sys.modules['fcntl'] = None
for name in ('sched_getaffinity', 'pread', 'getuid'):
    if hasattr(os, name):
        delattr(os, name)
"""


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT + code], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_every_module_is_imported(tmp_path: Path) -> None:
    code = (
        'import pkgutil, importlib, fsr_plugins\n'
        "names = [each.name for each in pkgutil.walk_packages(fsr_plugins.__path__, 'fsr_plugins.')]\n"
        "for name in names:\n    if name.split('.')[-1] not in ('train', 'test', 'inference'):\n"
        '        importlib.import_module(name)\n'
        'print(len(names))\n'
    )
    assert int(run(code, tmp_path).split()[-1]) > 300


def test_an_experiment_trains(tmp_path: Path) -> None:
    tiny.write_faces(tmp_path / 'faces')
    tiny.write_options(tmp_path / 'o.yml', tiny.options())
    printed = run("from fsr_plugins.cli import main; sys.exit(main(['train', '-opt', 'o.yml']))", tmp_path)
    assert 'Summary' in printed and (tmp_path / 'experiments/tiny/summary.json').is_file()
