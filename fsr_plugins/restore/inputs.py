"""Which pictures are to be enlarged, and the file of each one's result; found out before anything is written."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsr_plugins.atomic import NAME_BYTES, check_writable
from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.restore.network import Json
from fsr_plugins.stores.images import EXTENSIONS, OTHER_EXTENSIONS
from fsr_plugins.stores.manifest import NAME as MANIFEST

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What there is to do.

    Attributes:
        results: the file of each input's result.
        failed: why an input can have none.
        left_out: of each folder the pictures of kinds that are not looked for, and how many folders are in it.
    """

    results: dict[Path, Path]
    failed: dict[Path, str] = field(default_factory=dict)
    left_out: Json = field(default_factory=dict)


def find_results(inputs: Sequence[Path], out: Path, may_exist: bool) -> Wanted:
    """Every input with the file of its result, ``<name>.png`` in ``out``.

    Inputs that differ in their ending alone keep it: ``a.jpg`` beside ``a.png`` gives ``a.jpg.png`` and ``a.png.png``.

    Args:
        inputs: images, and folders of images; of a folder that ``fsr prepare`` has made, those in its ``images/``.
        may_exist: results may be there already.

    Raises:
        UserError: an input or an image in a folder is not there, two results are the same file, a result exists or is
            an input, or ``out`` cannot be written.
    """
    left_out: Json = {}
    sources: list[Path] = []
    for path in inputs:
        if os.path.isdir(path):
            sources += _inside(path, left_out)
        elif os.path.isfile(path):
            sources.append(path)
        else:
            raise UserError(f"There is no image or folder '{shown(path)}'.")
    stems = Counter(Path(name).stem for name in {source.name for source in sources})
    results: dict[Path, Path] = {}
    failed: dict[Path, str] = {}
    taken: dict[Path, Path] = {}
    places = {os.path.realpath(source) for source in sources}
    for source in sources:
        result = out / f'{source.stem if stems[source.stem] == 1 else source.name}.png'
        if taken.setdefault(result, source) != source:
            raise UserError(
                f"'{shown(taken[result])}' and '{shown(source)}' would both become '{shown(result)}': do one of them "
                'elsewhere.'
            )
        if os.path.realpath(result) in places:
            raise UserError(f"-o {out}: '{shown(result)}' is one of the inputs: choose another folder.")
        if os.path.isdir(result):
            raise UserError(f"-o {out}: '{shown(result)}' is a folder; choose another place.")
        if len(os.fsencode(result.name)) > NAME_BYTES:
            failed[source] = f"'{shown(source)}' would become '{shown(result.name)}', too long a name: shorten it."
        else:
            results[source] = result
    there = [result for result in results.values() if os.path.lexists(result)]
    if there and not may_exist:
        raise UserError(
            f"'{shown(there[0])}' exists already ({len(there)} of {len(results)} do): choose another folder, or give "
            '--overwrite or --skip-existing.'
        )
    if os.path.lexists(out) and not os.path.isdir(out):
        raise UserError(f'-o {out}: that is a file; a folder is needed.')
    check_writable(out, '-o')
    return Wanted(results, failed, left_out)


def _inside(folder: Path, left_out: Json, outermost: bool = True) -> list[Path]:
    """The images directly in a folder, or in a store's ``images``; what else may be there is noted, and said."""
    if os.path.isfile(folder / 'data.mdb'):
        raise UserError(
            f"'{shown(folder)}' is an LMDB, and files of images are needed: prepare the set under a name that does not "
            "end in '.lmdb', as a folder."
        )
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith('.'))
    except OSError as error:
        raise UserError(f"The folder '{shown(folder)}' cannot be read: {error.strerror}.") from error
    folders = [file for file in files if os.path.isdir(file)]
    # A link to nowhere is taken, too: reading it says what is wrong.
    inside = [file for file in files if file.suffix.lower() in EXTENSIONS and file not in folders]
    if outermost and folder / 'images' in folders and (folder / MANIFEST in files or not inside):
        return _inside(folder / 'images', left_out, outermost=False)
    others = [file.name for file in files if file.suffix.lower() in OTHER_EXTENSIONS and file not in folders]
    if folders or others:
        left_out[str(folder)] = {'other_kinds': others, 'folders': len(folders)}
        one = f" ('{shown(others[0])}' is one; name it to try it, or convert it)" if others else ''
        parts = [f'{len(others)} pictures of kinds that are not looked for in folders{one}'] if others else []
        parts += [f'{len(folders)} folders in it'] if folders else []
        logger.warning("'%s': left out are %s.", shown(folder), ', and '.join(parts))
    if not inside:
        raise UserError(f"The folder '{shown(folder)}' holds no images ({', '.join(sorted(EXTENSIONS))}).")
    return inside
