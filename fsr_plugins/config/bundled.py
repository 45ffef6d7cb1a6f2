"""The option files that come with the package, by name: ``tsnet``, ``lfw/pkdn``, ``bench/portraits_x8``.

A wheel holds them in ``fsr_plugins/options``; in a checkout they lie in ``options`` beside the package.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePath

from fsr_plugins.atomic import cannot_be_made
from fsr_plugins.config.yamlfile import BASE, parse
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import CLOSE, near

_PACKAGE = Path(__file__).parents[1]
#: The folder's name, in a wheel and in a checkout.
OPTIONS = 'options'


def folder() -> Path | None:
    """Where the bundled option files are; None where there are none."""
    places = (_PACKAGE / OPTIONS, _PACKAGE.parent / OPTIONS)
    return next((place for place in places if (place / '_base_' / 'common.yml').is_file()), None)


def names() -> list[str]:
    """All that can be named, sorted; files that others inherit are not among them."""
    root = folder()
    files = [] if root is None else root.rglob('*.yml')
    parts = (file.relative_to(root).with_suffix('') for file in files if root is not None)
    return sorted(part.as_posix() for part in parts if '_base_' not in part.parts)


def located(given: str | PurePath) -> Path:
    """The option file that is meant: the one at that path, else the bundled one of that name.

    Args:
        given: a path, or a name with or without ``options/`` before and ``.yml`` behind it.

    Raises:
        UserError: there is none, and a bundled one has nearly that name.
    """
    file = _found(given)
    if file.is_absolute() or file.exists():
        return file
    plain = Path(*file.parts[1:]) if file.parts[:1] == (OPTIONS,) else file
    hint = near(plain.as_posix().removesuffix('.yml'), names(), CLOSE)
    if hint:
        raise UserError(f'There is no option file {shown(str(given))}.{hint}')
    return file


def _found(given: str | PurePath) -> Path:
    """:func:`located`, without a word on what is not there."""
    file, root = Path(given), folder()
    # A folder of that name hides none: results often lie in one.
    if root is None or file.is_absolute() or '..' in file.parts or (file.exists() and not file.is_dir()):
        return file
    parts = file.parts[1:] if file.parts[:1] == (OPTIONS,) else file.parts
    if not parts:
        return file
    found = root.joinpath(*parts)
    candidates = (found, found.with_name(f'{found.name}.yml'))
    return next((each for each in candidates if each.is_file()), file)


def copy(name: str, target: Path) -> list[Path]:
    """Copies a bundled option file and all that it inherits, in their folders below ``target``.

    Returns:
        The copies, the file itself first.

    Raises:
        UserError: no such name, a file is there already, or the folder cannot be written to.
        DiskError: the disk is full.
    """
    root = folder()
    start = _found(name)
    if root is None or not start.is_file() or root not in start.parents:
        known = names()
        raise UserError(f'No option file {shown(name)} comes with the package.{near(name, known)}')
    found = _with_bases(start)
    copies = [target / each.relative_to(root) for each in found]
    for there in copies:
        if there.exists():
            raise UserError(f'{shown(str(there))} exists already: move it, or name another folder.')
    try:
        for source, there in zip(found, copies, strict=True):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, there)
    except OSError as error:
        raise cannot_be_made(target, error, 'name another folder') from error
    return copies


def _with_bases(file: Path) -> list[Path]:
    bases = parse(file.read_text(encoding='utf-8'), str(file)).values.get(BASE) or []
    found = [file.resolve()]
    for base in bases if isinstance(bases, list) else [bases]:
        found += [each for each in _with_bases((file.parent / str(base)).resolve()) if each not in found]
    return found
