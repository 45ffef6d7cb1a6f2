"""Which pictures are to be enlarged, and the file of each one's result; found out before anything is written."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsr_plugins.atomic import NAME_BYTES, check_writable
from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.restore.network import Json
from fsr_plugins.restore.pictures import Extension, suffix_of
from fsr_plugins.restore.video.kinds import CLIPS, beside_frames, clip_suffix, installed, is_clip, parts_of
from fsr_plugins.stores.images import EXTENSIONS, OTHER_EXTENSIONS
from fsr_plugins.stores.manifest import NAME as MANIFEST
from fsr_plugins.wording import many

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Naming:
    """How results are called, and where pictures are looked for.

    Attributes:
        suffix: follows the input's name: ``_x4`` makes ``a_x4.png`` of ``a.jpg``.
        extension: the kind of file; see :data:`~fsr_plugins.restore.pictures.Extension`.
        recursive: folders in folders are looked into, and results lie in the same folders below the output's.
        frames: a folder's pictures are the frames of a clip.

    Raises:
        UserError: the suffix is no part of a name.
    """

    suffix: str = ''
    extension: Extension = 'png'
    recursive: bool = False
    frames: bool = False

    def __post_init__(self) -> None:
        if '/' in self.suffix or os.sep in self.suffix or '\0' in self.suffix:
            raise UserError(f"--suffix '{self.suffix}': a part of a file's name is needed, without '/'.")


@dataclass(frozen=True)
class Wanted:
    """What there is to do.

    Attributes:
        results: the file of each input's result.
        failed: why an input can have none.
        left_out: of each folder the pictures of kinds that are not looked for, and the folders in it.
    """

    results: dict[Path, Path]
    failed: dict[Path, str] = field(default_factory=dict)
    left_out: Json = field(default_factory=dict)


def find_results(inputs: Sequence[Path], out: Path, may_exist: bool, naming: Naming | None = None) -> Wanted:
    """Every input with the file of its result, ``<name>.png`` in ``out``; what is given twice is taken once.

    Inputs that differ in their ending alone keep it: ``a.jpg`` beside ``a.png`` gives ``a.jpg.png`` and ``a.png.png``.
    Those of one name in different folders come into folders named after these.

    Args:
        inputs: images, and folders of images; of a folder that ``fsr prepare`` has made, those in its ``images/``.
        may_exist: results may be there already.
        naming: of the results; None: the defaults.

    Raises:
        UserError: an input or an image in a folder is not there, two results are the same file, a result exists or is
            an input, or ``out`` or a folder in it cannot be written.
    """
    naming = naming or Naming()
    left_out: Json = {}
    # By the folder that really holds it and its name: each file with its place below an input that is a folder.
    sources: dict[tuple[str, str], tuple[Path, Path]] = {}
    for path in inputs:
        if os.path.isdir(path):
            found = _inside(path, left_out, naming.recursive, out)
        elif os.path.isfile(path) and naming.frames and not is_clip(path):
            raise UserError(f"--video: '{shown(path)}' is a picture; name a clip, or a folder with the frames of one.")
        elif os.path.isfile(path):
            found = [(path, Path())]
        else:
            raise UserError(f"There is no image or folder '{shown(path)}'.")
        for source, below in found:
            sources.setdefault((os.path.realpath(source.parent), source.name), (source, below))
    results: dict[Path, Path] = {}
    failed: dict[Path, str] = {}
    taken: dict[Path, Path] = {}
    places = {os.path.realpath(source) for source, _ in sources.values()}
    for source, result in _named(list(sources.values()), naming):
        file = out / result
        if taken.setdefault(file, source) != source:
            raise UserError(
                f"'{shown(taken[file])}' and '{shown(source)}' would both become '{shown(file)}': do one of them "
                'elsewhere.'
            )
        if os.path.realpath(file) in places:
            raise UserError(f"-o {out}: '{shown(file)}' is one of the inputs: choose another folder.")
        if os.path.isdir(file):
            raise UserError(f"-o {out}: '{shown(file)}' is a folder; choose another place.")
        if len(os.fsencode(file.name)) > NAME_BYTES:
            failed[source] = f"'{shown(source)}' would become '{shown(file.name)}', too long a name: shorten it."
        else:
            results[source] = file
    there = [result for result in results.values() if os.path.lexists(result)]
    # Frames of a clip that has been begun are gone on with.
    there = [] if all(_begun(source, result, naming) for source, result in results.items()) else there
    if there and not may_exist:
        raise UserError(
            f"'{shown(there[0])}' exists already ({len(there)} of {len(results)} do): choose another folder, or give "
            '--overwrite or --skip-existing.'
        )
    _check_out(out, results.values())
    return Wanted(results, failed, left_out)


def _check_out(out: Path, results: Iterable[Path]) -> None:
    if os.path.lexists(out) and not os.path.isdir(out):
        raise UserError(f'-o {out}: that is a file; a folder is needed.')
    check_writable(out, '-o')
    check_folders(results, out, '-o')


def check_folders(files: Iterable[Path], out: Path, option: str) -> None:
    """Sees that the folders of some files below ``out`` are there or can be made.

    Args:
        option: that names ``out``, for the message.

    Raises:
        UserError: something else is there.
    """
    for folder in dict.fromkeys(file.parent for file in files):
        for place in (folder, *folder.parents):
            if place == out:
                break
            if os.path.lexists(place) and not os.path.isdir(place):
                raise UserError(
                    f"{option} {out}: '{shown(place)}' is a file; a folder is needed: choose another place."
                )


def _begun(source: Path, result: Path, naming: Naming) -> bool:
    """Whether a result is one of a folder of frames that has been begun, to be gone on with."""
    return naming.frames and not is_clip(source) and parts_of(beside_frames(source, result)).is_dir()


def _named(sources: Sequence[tuple[Path, Path]], naming: Naming) -> list[tuple[Path, Path]]:
    """Each source, given with the folder that its result shall lie in, with its result's name below the output's."""
    twice = Counter((below, source.name) for source, below in sources)
    placed = [
        (source, below if twice[below, source.name] == 1 else below / source.resolve().parent.name)
        for source, below in sources
    ]
    stems = Counter((below, source.stem) for source, below in placed)
    names = {(below, source.name) for source, below in placed}
    named = []
    for source, below in placed:
        # A stem may be the full name of another input, whose result may need it.
        alone = stems[below, source.stem] == 1 and (below, source.stem) not in names
        name = source.stem if alone else source.name
        suffix = clip_suffix(source.suffix) if is_clip(source) else suffix_of(source.suffix, naming.extension)
        named.append((source, below / f'{name}{naming.suffix}{suffix}'))
    return named


def _inside(
    folder: Path, left_out: Json, recursive: bool, out: Path, outermost: bool = True
) -> list[tuple[Path, Path]]:
    """The images in a folder, or in a store's ``images``, each with the folder of its result below the output's.

    What else may be there is noted in ``left_out``, and said. With ``recursive`` the folders in it are looked into,
    too, but the output's and links to folders are not.
    """
    files, folders = _listed(folder)
    # A link to nowhere is taken, too: reading it says what is wrong.
    # What needs a package that is not here is left out as other kinds are.
    kinds = EXTENSIONS | CLIPS if installed() else EXTENSIONS
    inside = [(file, Path()) for file in files if file.suffix.lower() in kinds]
    is_store = folder / MANIFEST in files or not (inside or recursive)
    if outermost and is_store and folder / 'images' in folders:
        return _inside(folder / 'images', left_out, False, out, outermost=False)
    others = [file.name for file in files if file.suffix.lower() in (OTHER_EXTENSIONS | CLIPS) - kinds]
    deeper = []
    if recursive:
        deeper = [each for each in folders if not each.is_symlink() and each.resolve() != out.resolve()]
        folders = [each for each in folders if each.is_symlink()]
    if folders or others:
        left_out[str(folder)] = {'other_kinds': others, 'folders': [each.name for each in folders]}
        one = f" ('{shown(others[0])}' is one; name it to try it, or convert it)" if others else ''
        parts = [f'{many(len(others), "picture")} of kinds that are not looked for in folders{one}'] if others else []
        how = 'name it' if recursive else '--recursive takes them'
        parts += [f"{many(len(folders), 'folder')} in it ('{shown(folders[0].name)}' is one; {how})"] if folders else []
        logger.warning("'%s': left out are %s.", shown(folder), ', and '.join(parts))
    for each in deeper:
        try:
            found = _inside(each, left_out, True, out)
        except _Empty:
            continue
        inside += [(file, Path(each.name) / below) for file, below in found]
    if not inside:
        raise _Empty(f"The folder '{shown(folder)}' holds no images ({', '.join(sorted(EXTENSIONS))}).")
    return inside


class _Empty(UserError):
    """That a folder holds no images."""


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders in a folder, without hidden ones."""
    if os.path.isfile(folder / 'data.mdb'):
        raise UserError(
            f"'{shown(folder)}' is an LMDB, and files of images are needed: prepare the set under a name that does not "
            "end in '.lmdb', as a folder."
        )
    try:
        listed = sorted(file for file in folder.iterdir() if not file.name.startswith('.'))
    except OSError as error:
        raise UserError(f"The folder '{shown(folder)}' cannot be read: {error.strerror}.") from error
    folders = [file for file in listed if os.path.isdir(file)]
    return [file for file in listed if file not in folders], folders
