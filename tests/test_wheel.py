"""The package by itself, without the repository: what a wheel holds, and what works from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fsr_plugins
from fsr_plugins.cli import main
from fsr_plugins.config.bundled import located, names

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which only this package was installed, from a copy of what a wheel is built from."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    hidden = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in ('fsr_plugins', 'options'):
        shutil.copytree(ROOT / name, source / name, ignore=hidden)
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', '--no-index']
    done = subprocess.run([*command, '--target', folder / 'site', source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / 'site'


def fsr(site: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PYTHONPATH': str(site), 'XDG_CACHE_HOME': str(place / 'cache')}
    command = [sys.executable, '-m', 'fsr_plugins', *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_the_wheel_works_alone(site: Path, tmp_path: Path) -> None:
    said = fsr(site, tmp_path, '--version')
    assert said.stdout.strip() == f'fsr_plugins {fsr_plugins.__version__}', said.stderr
    listed = fsr(site, tmp_path, 'options', '--names')
    assert set(listed.stdout.split()) == set(names())
    shown = fsr(site, tmp_path, 'options', '-opt', 'tsnet', '--json', 'found.json')
    assert shown.returncode == 0, shown.stderr
    place = json.loads((tmp_path / 'found.json').read_text())['joint'][0]['place']
    assert str(ROOT) not in place
    assert (site / 'fsr_plugins' / 'zoo' / 'LICENSE').is_file()
    bundled = fsr(site, tmp_path, 'list', 'weights')
    assert 'face_x8' in bundled.stdout, bundled.stderr


@pytest.mark.parametrize('given', ['lfw/pkdn', 'lfw/pkdn.yml', 'options/lfw/pkdn.yml'])
def test_a_bundled_file_is_found_by_name(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located(given) == ROOT / 'options' / 'lfw' / 'pkdn.yml'
    own = tmp_path / given
    own.parent.mkdir(parents=True)
    own.write_text('name: mine')
    assert located(given) == Path(given)


@pytest.mark.parametrize('given', ['nothing', '../options/tsnet.yml', '/options/tsnet.yml', 'options', '_base_'])
def test_what_is_no_bundled_file_stays_as_it_is(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located(given) == Path(given)


def test_a_copy_has_all_that_it_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['options', '--copy', 'tsnet', 'mine']) == 0
    copied = capsys.readouterr().out.split()
    assert copied[0] == 'mine/tsnet.yml' and 'mine/_base_/common.yml' in copied
    assert main(['options', '-opt', 'tsnet', '--json', 'bundled.json']) == 0
    assert main(['options', '-opt', 'mine/tsnet.yml', '--json', 'copied.json']) == 0
    values = [
        {stage: [(each['key'], each['value']) for each in options] for stage, options in json.loads(text).items()}
        for text in (Path('bundled.json').read_text(), Path('copied.json').read_text())
    ]
    assert values[0] == values[1]
    capsys.readouterr()
    assert main(['options', '--copy', 'tsnet', 'mine']) == 2
    assert "mine/tsnet.yml' exists already" in capsys.readouterr().err
    assert main(['options', '--copy', 'tsnt', 'other']) == 2
    assert "Did you mean 'tsnet'?" in capsys.readouterr().err
    assert not Path('other').exists()
