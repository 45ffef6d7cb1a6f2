"""The commands that documentation and option files show: each is one that `fsr` takes, and makes what it is said to."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from fsr_plugins.cli import prepare_command
from fsr_plugins.data.prepare import PREPARERS

HOME = Path(__file__).parents[1]
FILES = [HOME / 'datasets' / 'README.md', *sorted((HOME / 'options').rglob('*.yml'))]
COMMAND = re.compile(r'^(?:    |#   )(fsr prepare .+)$', re.MULTILINE)
#: Sets whose paths in the papers' option files are made by a command of datasets/README.md.
SETS = ('casia', 'celeba', 'ffhq', 'helen', 'icartoonface', 'ls3dw', 'multipie', 'webface', 'widerface', 'yale')


def commands(file: Path) -> list[str]:
    return COMMAND.findall(file.read_text())


def parsed(command: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    prepare_command.add_arguments(parser)
    return parser.parse_args(shlex.split(command, comments=True)[2:])


@pytest.mark.parametrize('file', [file for file in FILES if commands(file)], ids=lambda file: file.stem)
def test_commands_shown_are_taken(file: Path) -> None:
    for command in commands(file):
        if '…' not in command:
            assert parsed(command).dataset in PREPARERS, command


@pytest.mark.parametrize('name', sorted(PREPARERS))
def test_examples_are_taken(name: str) -> None:
    assert parsed(PREPARERS[name].example).dataset == name


@pytest.mark.parametrize('name', SETS)
def test_what_papers_settings_read_is_made(name: str) -> None:
    read = {
        path
        for file in [*(HOME / 'options' / 'paper').rglob('*.yml'), *(HOME / 'options' / '_base_').glob('*.yml')]
        for path in re.findall(rf'datasets/{name}[^\s,\]}}]*', re.sub(r'^\s*#.*$', '', file.read_text(), flags=re.M))
    }
    made = {str(parsed(command).dst) for command in commands(FILES[0])}
    assert read and read <= made
