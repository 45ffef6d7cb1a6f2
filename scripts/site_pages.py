"""Lays out the pages of the site: the documents as they stand in the repository, and a reference made of the code.

    python scripts/site_pages.py build/pages && mkdocs build --strict     (or: make docs)

Every page lies where its file lies in the repository, so that links between documents work in both places.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fsr_plugins
from fsr_plugins.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
#: A link or a picture of Markdown, up to a heading's mark.
_LINK = re.compile(r'\]\((?!\w+:|#)([^)#\s]+)')
#: What the rooms of the API are for; in the order of the house.
ROOMS = {
    'restore': 'Restore faces and photographs from Python, and export networks.',
    'checkpoints': 'Read, check and write checkpoints.',
    'registry': 'Find and build what option files name.',
    'models': 'What a method is made of: `FSRModel`, networks, losses, evaluation.',
    'archs': 'Networks.',
    'losses': 'Losses.',
    'degradations': 'From HR to LR.',
    'edges': 'Edges, as TSNet needs them.',
    'metrics': 'Metrics.',
    'faces': 'Faces in photographs: detectors, points, alignment.',
    'stores': 'Where images lie.',
    'data': 'Datasets and loaders.',
    'config': 'Option files, typed.',
    'adaptation': 'One-shot adaptation.',
    'bench': 'Suites, statistics, reports.',
    'portraits': 'The built-in faces.',
    'errors': 'What is raised.',
}


def documents() -> list[Path]:
    """The Markdown files that git knows, but for the templates of its host, relative to the root."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '*.md']
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.splitlines() if not name.startswith('.')]


def linked_files(page: Path) -> set[Path]:
    """The files that a page links and that are no page themselves, relative to the root."""
    found = set()
    for target in _LINK.findall((ROOT / page).read_text(encoding='utf-8')):
        file = (ROOT / page.parent / target).resolve()
        if file.is_file() and file.suffix != '.md' and file.is_relative_to(ROOT):
            found.add(file.relative_to(ROOT))
    return found


def copy_documents(pages: Path) -> None:
    """Copies every document and what it links."""
    files = documents()
    for file in {*files, *(linked for page in files for linked in linked_files(page))}:
        (pages / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, pages / file)


def write_commands(folder: Path) -> None:
    """A page of what every command says for ``--help``."""
    parts = ['# Commands', '', 'What each command says for `--help`.']
    for name, summary in COMMANDS.items():
        said = subprocess.run(
            [sys.executable, '-m', 'fsr_plugins', name, '--help'],
            capture_output=True, text=True, check=True, env={'COLUMNS': '100', 'PATH': ''},
        ).stdout  # fmt: skip
        parts += ['', f'## fsr {name}', '', f'{summary[0].upper()}{summary[1:]}.', '', '```text', said.rstrip(), '```']
    (folder / 'commands.md').write_text('\n'.join(parts) + '\n', encoding='utf-8')


def modules_of(room: str) -> list[str]:
    """The public modules of a room, itself first, without its private ones."""
    name = f'fsr_plugins.{room}'
    package = importlib.import_module(name)
    inside = pkgutil.walk_packages(getattr(package, '__path__', []), f'{name}.')
    return [name, *(module.name for module in inside if not module.name.rpartition('.')[2].startswith('_'))]


def write_api(folder: Path) -> None:
    """A page a room, of its modules' docstrings, and one of the package itself."""
    lines = [
        '# Python API',
        '',
        '::: fsr_plugins',
        '    options: {heading_level: 2, members: [load]}',
        '',
        '## Rooms',
        '',
    ]
    for room, about in ROOMS.items():
        lines.append(f'- [`fsr_plugins.{room}`](api/{room}.md): {about}')
        page = [f'# fsr_plugins.{room}', '', about]
        for module in modules_of(room):
            page += ['', f'::: {module}', '    options: {heading_level: 2}']
        (folder / 'api').mkdir(exist_ok=True)
        (folder / 'api' / f'{room}.md').write_text('\n'.join(page) + '\n', encoding='utf-8')
    (folder / 'api.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')


def main() -> None:
    """Makes the folder anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('pages', type=Path, help='folder to make; what it holds is removed')
    pages: Path = parser.parse_args().pages
    if pages.exists() and any(pages.iterdir()) and not (pages / 'reference/api.md').is_file():
        parser.error(f"'{pages}' holds other files, which would be lost: name another folder, or remove it.")
    shutil.rmtree(pages, ignore_errors=True)
    copy_documents(pages)
    reference = pages / 'reference'
    reference.mkdir()
    write_commands(reference)
    write_api(reference)
    print(f'{pages}: {len(list(pages.rglob("*.md")))} pages of fsr_plugins {fsr_plugins.__version__}')


if __name__ == '__main__':
    main()
