"""The commands that the documents show, as they stand there, and what their own parsers make of them."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsr_plugins.cli import main

ROOT = Path(__file__).parents[1]
#: Before a block or a paragraph whose commands cannot be checked.
MARK = re.compile(r'<!-- not run: \S.* -->')
#: What a command line begins with, after variables of the environment.
_BEGINNING = re.compile(r'(?:[A-Z_]+=\S+ )*(?:fsr|python (?:scripts|fsr_plugins)/|torchrun )')
#: A command in the text that is complete: it names an option file or a script.
_INLINE = re.compile(r'`((?:fsr \w+ [^`]*-opt [^`]*|python scripts/[^`]*))`')


@dataclass(frozen=True)
class Shown:
    """A command of a page; ``line`` is its number there."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}: {self.text}'


class Parsed(BaseException):
    """Raised in place of the work, with what the parser accepted."""

    def __init__(self, arguments: Namespace) -> None:
        super().__init__()
        self.arguments = arguments


def pages() -> list[str]:
    """The Markdown files of the repository that show commands to type."""
    folders = ('docs', 'datasets', 'examples', 'fsr_plugins')
    found = [*ROOT.glob('*.md'), *(page for folder in folders for page in (ROOT / folder).rglob('*.md'))]
    return sorted(page.relative_to(ROOT).as_posix() for page in found)


def _paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number of the first line, and the lines, of each part between empty lines."""
    lines: list[str] = []
    for number, line in enumerate([*text.split('\n'), ''], 1):
        if line.strip():
            lines.append(line)
        elif lines:
            yield number - len(lines), lines
            lines = []


def _commands(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The position and the text of each command of a paragraph, of a block or within sentences."""
    if not lines[0].startswith(('    ', '```')):
        text = '\n'.join(lines)
        for match in _INLINE.finditer(text):
            yield text[: match.start()].count('\n'), ' '.join(match[1].split())
        return
    kept: list[str] = []
    for at, line in enumerate(lines):
        kept.append(line.strip().removesuffix('\\'))
        if line.rstrip().endswith('\\'):
            continue
        text = ' '.join(kept)
        if _BEGINNING.match(text):
            yield at + 1 - len(kept), text
        kept = []


def commands(page: str) -> list[Shown]:
    """The commands of a page, but for those that are marked as not run."""
    found, marked = [], False
    for first, lines in _paragraphs((ROOT / page).read_text(encoding='utf-8')):
        if MARK.fullmatch(lines[0].strip()):
            marked, lines, first = True, lines[1:], first + 1
            if not lines:
                continue
        if not marked:
            found += [Shown(page, first + at, text) for at, text in _commands(lines)]
        marked = False
    return found


def words(text: str) -> list[list[str]]:
    """The words of each command of a line: without comment, environment and launcher; a script is its path."""
    parts: list[list[str]] = [[]]
    for word in shlex.split(text, comments=True):
        if word == '&&':
            parts.append([])
        elif parts[-1] or not re.fullmatch(r'[A-Z_]+=.*', word):
            parts[-1].append(word)
    return [_started(part) for part in parts if part[0] in ('fsr', 'python', 'torchrun')]


def _started(part: list[str]) -> list[str]:
    if part[0] == 'torchrun':
        part = ['python', *(word for word in part[1:] if not word.startswith('--nproc_per_node'))]
    if part[0] == 'python':
        part = part[1:]
        if part[0].startswith('fsr_plugins/'):
            assert (ROOT / part[0]).is_file(), part[0]
            part = ['fsr', Path(part[0]).stem, *part[1:]]
    return part


def parsed(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Namespace | None:
    """What the command's own parser accepts; None after a help or a version.

    Raises:
        AssertionError: the parser refuses, the script is not there, or parses nothing.
    """
    accept = ArgumentParser.parse_args

    def stop(parser: ArgumentParser, *given: object, **named: object) -> Namespace:
        raise Parsed(accept(parser, *given, **named))  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ArgumentParser, 'parse_args', stop)
        try:
            if command[0] == 'fsr':
                status: object = main(command[1:])
            else:
                patch.setattr(sys, 'argv', list(command))
                patch.syspath_prepend(str((ROOT / command[0]).parent))
                runpy.run_path(str(ROOT / command[0]), run_name='__main__')
                status = 'the script parses nothing'
        except Parsed as accepted:
            return accepted.arguments
        except SystemExit as end:
            status = end.code
    assert status in (0, None), f'{command}: refused ({status})'
    return None
