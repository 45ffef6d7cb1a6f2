"""The commands that option files and pages show: they are understood, and make what the option files read."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from option_files import OPTIONS

from fsr_plugins.prepare import PREPARERS

ROOT = OPTIONS.parent
PAGES = [*sorted(OPTIONS.rglob('*.yml')), ROOT / 'datasets' / 'README.md']


def joined(text: str) -> str:
    """A page on which each command is one line."""
    return re.sub(r'\\\n(?:#| {4})\s*', '', text)


#: A command on a line of its own, as in a block of code or a comment.
COMMANDS = sorted(
    {
        found.strip()
        for page in PAGES
        for found in re.findall(r'^(?:#\s+| {4})(fsr prepare .*)$', joined(page.read_text()), re.M)
    }
)
ROOTS = {found for page in PAGES for found in re.findall(r'dataroot_\w+: (datasets/\S+)', page.read_text())}


def parsed(command: str) -> argparse.Namespace:
    name, *arguments = shlex.split(command, comments=True)[2:]
    parser = argparse.ArgumentParser(exit_on_error=False)
    PREPARERS[name].add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_are_understood(command: str) -> None:
    assert vars(parsed(command))


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 15


def test_the_page_makes_what_the_papers_settings_read() -> None:
    files = [*(OPTIONS / 'paper').rglob('*.yml'), *(OPTIONS / '_base_').glob('*.yml')]
    texts = [re.sub(r'#.*', '', file.read_text()) for file in files]
    read = {
        path
        for text in texts
        for path in re.findall(r'\bdatasets/[^\s,\]}]*', text)
        if Path(path).suffix in ('', '.lmdb')
    }
    made = {str(parsed(command).dst) for command in COMMANDS}
    assert read and read - made == set()


@pytest.mark.parametrize('name', sorted(PREPARERS))
def test_examples_are_understood(name: str) -> None:
    assert PREPARERS[name].example.startswith(f'fsr prepare {name} ')
    parsed(PREPARERS[name].example)


@pytest.mark.parametrize('name', ['icartoonface', 'ls3dw', 'webface', 'widerface'])
def test_examples_make_what_option_files_read(name: str) -> None:
    assert str(parsed(PREPARERS[name].example).dst) in ROOTS


#: Preparers of what is no public dataset.
OWN = {'portraits', 'camera', 'pairs', 'landmarks', 'parsing', 'folder'}


@pytest.mark.parametrize('name', sorted(set(PREPARERS) - OWN))
def test_help_says_where_a_public_set_is_to_be_had(name: str) -> None:
    said = PREPARERS[name].help()
    assert re.search(r'^Official data: .*http', said)
    assert all(f'\n{title}: ' in said for title in ('Terms', 'Expected layout', 'Example'))
    assert max(map(len, said.splitlines())) <= 130
    assert f'`fsr prepare {name} ' in (ROOT / 'datasets' / 'README.md').read_text()
