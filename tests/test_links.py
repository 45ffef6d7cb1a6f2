"""Links of the documents lead somewhere, and their lines are short enough to be read."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r'\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)')
_LONGEST_LINE = 120


def pages() -> list[str]:
    """The Markdown files that git knows."""
    listed = subprocess.run(['git', 'ls-files', '*.md'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def prose(text: str) -> list[tuple[int, str]]:
    """The numbered lines outside of blocks of code, fenced or indented after an empty line."""
    found: list[tuple[int, str]] = []
    fenced = indented = False
    before = ''
    for number, line in enumerate(text.split('\n'), 1):
        fence = line.lstrip().startswith('```')
        fenced ^= fence
        indented = line.startswith('    ') and (indented or not before.strip())
        if not (fence or fenced or indented):
            found.append((number, line))
        before = line
    return found


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub and the site make them, and those that are written as HTML."""
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    seen: Counter[str] = Counter()
    for _, line in prose(text):
        if heading := re.match(r'#{1,6} +(.*?) *#*$', line):
            said = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading[1])
            name = re.sub(r'[^\w\- ]', '', said.lower()).replace(' ', '-')
            found.add(f'{name}-{seen[name]}' if seen[name] else name)
            seen[name] += 1
    return found


def broken(page: Path) -> list[str]:
    """The links of a page to files and anchors that are not there."""
    wrong = []
    for number, line in prose(page.read_text(encoding='utf-8')):
        for link in _LINK.findall(re.sub(r'`[^`]*`', '', line)):
            if re.match(r'\w+:', link):
                continue
            path, _, anchor = unquote(link).partition('#')
            target = page.parent / path if path else page
            if not target.exists():
                wrong.append(f'{page}:{number}: {link}: no such file')
            elif anchor and (target.suffix != '.md' or anchor not in anchors(target.read_text(encoding='utf-8'))):
                wrong.append(f'{page}:{number}: {link}: no such heading')
    return wrong


@pytest.mark.parametrize('page', pages())
def test_links_lead_to_files_and_headings(page: str) -> None:
    assert not broken(ROOT / page)


#: Files of the repository that a text names, and how those of BasicSR's own begin.
_FILE = re.compile(
    r'(?<![\w/.-])(?:options|scripts|tests|docs|examples|docker|fsr_plugins)/[\w./-]*\w\.(?:yml|py|md)\b'
)
_OF_BASICSR = ('options/train/', 'options/test/')


def absent(page: Path) -> list[str]:
    """The files that a page names and that lie neither in the repository, nor beside it, nor in an example."""
    places = [ROOT, page.parent, *(ROOT / 'examples').iterdir()]
    named = set(_FILE.findall(page.read_text(encoding='utf-8')))
    return sorted(
        name
        for name in named
        if not name.startswith(_OF_BASICSR) and not any((place / name).is_file() for place in places)
    )


@pytest.mark.parametrize('page', [page for page in pages() if not page.endswith('/report.md')])
def test_files_that_are_named_are_there(page: str) -> None:
    assert not absent(ROOT / page)


def test_absent_files_are_found(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text('`options/tsnet.yml` options/none.yml, (scripts/none.py) and options/softedge.yml of an example')
    assert absent(page) == ['options/none.yml', 'scripts/none.py']


# What `fsr bench` writes is not typed by hand.
@pytest.mark.parametrize('page', [page for page in pages() if not page.endswith('/report.md')])
def test_lines_are_short(page: str) -> None:
    lines = prose((ROOT / page).read_text(encoding='utf-8'))
    long = [f'{page}:{number}' for number, line in lines if len(line) > _LONGEST_LINE and not line.startswith('|')]
    assert not long


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / 'there.md').write_text('# Two `words`\n\n    # no heading\n')
    page = tmp_path / 'page.md'
    page.write_text(
        '# Top\n\n[a](there.md#two-words) [b](#top) [c](https://a.b) `[d](e)`\n'
        '[f](none.md) [g](there.md#no-heading) [h](#x)\n'
    )
    assert [each.split(': ')[1] for each in broken(page)] == ['none.md', 'there.md#no-heading', '#x']
