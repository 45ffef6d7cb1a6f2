"""Packages from outside: the examples, each installed into an empty folder and used by the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / 'examples'


def install(example: str, folder: Path) -> Path:
    """Installs one of the examples, and nothing else, into a new folder below ``folder``, and returns it."""
    # From a copy: building leaves files beside the sources.
    source = shutil.copytree(EXAMPLES / example, folder / 'source')
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', '--no-index']
    done = subprocess.run([*command, '--target', folder / 'site', source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / 'site'


def fsr(site: Path, place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command ``fsr`` in ``place``, with what is installed in ``site`` on the path."""
    return _run(site, place, Path(sys.executable).with_name('fsr'), *arguments)


def python(site: Path, place: Path, code: str) -> str:
    """What ``code`` prints, run in ``place`` with what is installed in ``site`` on the path."""
    done = _run(site, place, sys.executable, '-c', code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(site: Path, place: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    inherited = os.environ.get('PYTHONPATH')
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(site), *([inherited] if inherited else [])]),
        'FSR_DATASETS': str(place / 'datasets'),
        'XDG_CACHE_HOME': str(place / 'cache'),
    }
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=180)


def entry_points(site: Path) -> list[tuple[str, str, str]]:
    """Group, name and value of what the one package in ``site`` announces."""
    (installed,) = metadata.distributions(path=[str(site)])
    return [(point.group, point.name, point.value) for point in installed.entry_points]


def check_small_and_unknown(example: str, *names: str) -> None:
    """An example is under 100 lines of Python, and the toolkit's own code has none of its names."""
    lines = [line for file in (EXAMPLES / example / example).glob('*.py') for line in file.read_text().splitlines()]
    assert 0 < len(lines) < 100
    for file in (ROOT / 'fsr_plugins').rglob('*.py'):
        text = file.read_text().lower()
        assert not any(name in text for name in (example, *names)), file
