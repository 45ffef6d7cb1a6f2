"""Every command of the documents is accepted by its parser, and names files, options and weights that exist."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import cv2
import documented
import numpy as np
import pytest
from documented import ROOT, Shown

from fsr_plugins import config
from fsr_plugins.bench import suite as suites
from fsr_plugins.checkpoints.bundled import bundled
from fsr_plugins.config.bundled import located
from fsr_plugins.portraits import render


def option_file(name: Path, shown: Shown, folder: Path) -> Path:
    """The file of ``-opt``: of the repository, beside the page, or a block of the page, which is written down,
    or a bundled name."""
    for place in (ROOT, (ROOT / shown.page).parent):
        if (place / name).is_file():
            return place / name
    blocks = (ROOT / shown.page).read_text(encoding='utf-8').split('\n\n')
    for block in blocks:
        lines = [line[4:] for line in block.split('\n') if line.startswith('    ')]
        if f'name: {name.stem}' in lines:
            file = folder / name.name
            with suppress(FileExistsError):
                (folder / 'options').symlink_to(ROOT / 'options')
            file.write_text('\n'.join(lines) + '\n', encoding='utf-8')
            return file
    bundled_file = located(name)
    assert bundled_file.is_file(), f'{shown}: no option file {name}'
    return bundled_file


def check(arguments: Namespace, shown: Shown, folder: Path) -> None:
    """Reads the option file with what ``--set`` changes, and looks the checkpoint's name up."""
    given = vars(arguments)
    name = given.get('opt')
    if name is not None and str(name) != 'FILE':
        file = option_file(Path(name), shown, folder)
        if given.get('command') == 'bench':
            assert suites.load(file, given['overrides'], root=ROOT).entries, shown
        elif 'examples' not in file.parts:  # their own tests load them, with the plugin they need
            assert config.load(file, given.get('overrides') or [], root=ROOT).stages, shown
    for weights in (given.get('checkpoint'),):
        if isinstance(weights, str | Path) and '/' not in str(weights) and not Path(weights).suffix:
            assert str(weights) in bundled() or str(weights).isupper(), shown


@pytest.mark.parametrize('page', [page for page in documented.pages() if documented.commands(page)])
def test_commands_of_the_documents_are_accepted(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    for shown in documented.commands(page):
        try:
            for command in documented.words(shown.text):
                arguments = documented.parsed(command, monkeypatch)
                if arguments is not None:
                    check(arguments, shown, tmp_path)
        except Exception as problem:  # all of a page at once
            said = capsys.readouterr().err.strip().splitlines()
            wrong.append(f'{shown}\n    {type(problem).__name__}: {problem} {said[-1:]}')
    assert not wrong, '\n' + '\n'.join(wrong)


def test_many_commands_are_found() -> None:
    assert sum(len(documented.commands(page)) for page in documented.pages()) > 120


@pytest.mark.parametrize(
    'text', ['fsr train', 'fsr train -opt a.yml --no_such', 'fsr nothing', 'python scripts/make_clip.py --no_such']
)
def test_a_wrong_command_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = documented.words(text)
    with pytest.raises(AssertionError, match='refused'):
        documented.parsed(command, monkeypatch)


@pytest.mark.parametrize(
    'text, error',
    [
        ('fsr train -opt options/none.yml', AssertionError),
        ('fsr train -opt options/tsnet.yml --set train.total_itr=5', Exception),
        ('fsr infer a.jpg -c face_x9 -o results', AssertionError),
    ],
)
def test_a_wrong_file_option_or_name_is_found(
    text: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = documented.parsed(documented.words(text)[0], monkeypatch)
    assert arguments is not None
    with pytest.raises(error):
        check(arguments, Shown('README.md', 1, text), tmp_path)


@pytest.mark.long
def test_short_commands_of_the_readme_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    faces = [face.image for face in render('studio', 'test', range(0, 40, 10), 40, seed=0)]
    assert cv2.imwrite('party.jpg', cv2.copyMakeBorder(np.hstack(faces), 40, 40, 40, 40, cv2.BORDER_REPLICATE))
    (restore,) = (each for each in documented.commands('README.md') if 'fsr infer party.jpg' in each.text)
    for text in (restore.text, 'fsr list weights', 'fsr options -opt tsnet', 'fsr options --names'):
        (command,) = documented.words(text)
        done = subprocess.run(
            [sys.executable, '-m', 'fsr_plugins', *command[1:]],
            capture_output=True, text=True, timeout=300, env={**os.environ, 'PYTHONPATH': str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, (text, done.stderr)
        assert text != 'fsr list weights' or all(name in done.stdout for name in bundled())
        assert not text.startswith('fsr options') or 'tsnet' in done.stdout
    assert list((tmp_path / 'results').glob('party*.png')) or list((tmp_path / 'results').glob('party*.jpg'))
