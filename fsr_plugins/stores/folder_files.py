"""Which files of a folder are its images, and which are left out; a message names these."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.stores.images import EXTENSIONS, OTHER_EXTENSIONS
from fsr_plugins.wording import many

logger = logging.getLogger(__name__)

#: Endings of archives that `fsr prepare` reads.
ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
#: Files that are looked at, at most, to say how many images are left out.
_LOOKED_AT = 100_000
#: What has been said already: a store is opened several times.
_said: set[str] = set()


class FolderFiles(NamedTuple):
    """Paths of images by key, and in words what is left out."""

    by_key: dict[str, str]
    left_out: list[str]

    def tell(self, folder: Path) -> None:
        """Says once what is left out."""
        text = f"'{shown(folder)}': left out are {'; '.join(self.left_out)}."
        if self.left_out and text not in _said:
            _said.add(text)
            logger.warning('%s', text)


def find_images(folder: Path, recursive: bool, beside: Path | None = None) -> FolderFiles:
    """The images of a folder by key: a file's name without its ending.

    Args:
        recursive: those of all folders below it, too; a key is the path from ``folder``, with ``/``. Links to folders
            are not followed. Hidden files and folders are not looked at.
        beside: a folder round it, whose own images are left out.

    Raises:
        UserError: a folder cannot be read, a name is not UTF-8, or two files have the same key.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    archives: list[str] = []
    linked: list[str] = []
    folders: list[str] = []
    for place, below, names in _walk(folder):
        links = {name for name in below if os.path.islink(os.path.join(place, name))}
        folders = [name for name in below if name not in links]
        linked += [os.path.join(place, name) for name in below if name in links]
        # Of the folder, not of each file: there may be hundreds of thousands.
        within = os.path.relpath(place, folder)
        prefix = '' if within == os.curdir else f'{Path(within).as_posix()}/'
        beginning = os.path.join(place, '')
        for name in names:
            path = beginning + name
            stem, dot, kind = name.rpartition('.')
            ending = (dot + kind).lower()
            if ending in EXTENSIONS:
                if (key := _key(prefix + stem, path)) in found:
                    raise UserError(f"'{found[key]}' and '{path}' have the same key '{key}'; remove one of them.")
                found[key] = path
            elif ending in OTHER_EXTENSIONS:
                others.append(path)
            elif name.lower().endswith(ARCHIVES):
                archives.append(path)
        if not recursive:
            break
    left_out = []
    if not recursive and folders and (below_it := _count([folder / name for name in folders])):
        left_out.append(f"{below_it} images in folders below it ('recursive: true' of a dataset takes them)")
    if beside is not None and (
        there := sum(Path(name).suffix.lower() in EXTENSIONS for name in next(_walk(beside))[2])
    ):
        left_out.append(f"{many(there, 'image')} beside the folder '{folder.name}'")
    if others:
        left_out.append(
            f"{many(len(others), 'picture')} of kinds that are not read ('{shown(others[0])}' is one; convert them)"
        )
    if archives:
        left_out.append(
            f"{many(len(archives), 'archive')} ('{shown(archives[0])}' is one; `fsr prepare folder` reads them)"
        )
    if linked and recursive:
        left_out.append(f"{many(len(linked), 'link')} to folders ('{shown(linked[0])}' is one)")
    return FolderFiles(found, left_out)


def _key(name: str, path: str) -> str:
    """The name, which a manifest has to hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"'{shown(path)}': the name is not UTF-8, so it is no key of a dataset; rename it.") from error
    return name


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, in the order of names, without hidden ones; what cannot be read is an error."""

    def fail(error: OSError) -> None:
        raise UserError(f"The folder '{shown(str(error.filename))}' cannot be read: {error.strerror}.") from error

    for place, below, names in os.walk(folder, onerror=fail):
        below[:] = sorted(name for name in below if not name.startswith('.') and name != '__MACOSX')
        yield place, below, sorted(name for name in names if not name.startswith('.'))


def _count(folders: list[Path]) -> str:
    """How many images are below some folders, in words; nothing where there are none."""
    looked_at = images = 0
    for folder in folders:
        for _, _, names in _walk(folder):
            images += sum(os.path.splitext(name)[1].lower() in EXTENSIONS for name in names)
            looked_at += len(names) + 1
            if looked_at > _LOOKED_AT:
                return f'more than {images}'
    return str(images) if images else ''
