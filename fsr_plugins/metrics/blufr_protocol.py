"""The file of a BLUFR protocol: which images make which trial."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from fsr_plugins.arguments import home_path
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.matfile import Array, read_mat

Indices = npt.NDArray[np.int64]

SETS = ('testIndex', 'galIndex', 'probIndex')
VARIABLES = ('imageList', 'labels', *SETS)
IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}


@dataclass(frozen=True)
class Trial:
    """Places in the list of images, from 0 on: all images to verify, and those to identify in a gallery."""

    test: Indices
    gallery: Indices
    probes: Indices


@dataclass(frozen=True)
class Protocol:
    """Images by name (without folder and suffix), the person of each (n,), and the trials."""

    images: tuple[str, ...]
    labels: Indices
    trials: tuple[Trial, ...]

    def rows(self, keys: Iterable[str]) -> Indices:
        """For each image of the protocol the place of its key among ``keys``, -1 where there is none; (n,).

        Keys are compared by name, as images are: ``0/Aaron_Eckhart_0001`` is ``Aaron_Eckhart_0001.jpg``.

        Raises:
            UserError: two keys have the name of one image.
        """
        wanted = set(self.images)
        places: dict[str, int] = {}
        for place, key in enumerate(keys):
            name = image_name(key)
            if name in places and name in wanted:
                raise UserError(f"Two images of the validation set are called '{name}', and the protocol names it.")
            places[name] = place
        return np.array([places.get(name, -1) for name in self.images], np.int64)


def image_name(path: str) -> str:
    """The last part of a path or key, without an image's suffix."""
    name = PurePosixPath(path.strip().replace('\\', '/')).name
    stem, dot, suffix = name.rpartition('.')
    return stem if dot + suffix.lower() in IMAGE_SUFFIXES else name


def read_protocol(path: str | Path) -> Protocol:
    """Reads the protocol of BLUFR (Liao et al. 2014), ``blufr_lfw_config.mat``, or one of the same variables.

    ``imageList`` are names of n files; ``labels`` a number a person, (n,); ``testIndex``, ``galIndex`` and
    ``probIndex`` of each trial the images to verify, the gallery and the probes, counted from 1 on. In a ``.mat``
    (version 5 to 7) the names and the three indices are cell arrays. In an ``.npz`` ``imageList`` is an array of
    str, and the indices are (trials, longest) integers, a shorter trial filled up with 0. Further variables, such as
    ``trainIndex``, are not read.

    Raises:
        UserError: a file that cannot be read, lacks a variable, or contradicts itself.
    """
    path = home_path(path)
    content = _load(path)
    missing = [name for name in VARIABLES if name not in content]
    if missing:
        raise UserError(f"The BLUFR protocol '{path}' has no {', '.join(missing)}: it needs {', '.join(VARIABLES)}.")
    try:
        images = tuple(image_name(_text(cell)) for cell in content['imageList'].ravel())
        labels = _integers(content['labels'])
        sets = {name: _places(content[name], len(images)) for name in SETS}
        if len(labels) != len(images):
            raise ValueError(f'{len(images)} images have {len(labels)} labels')
        if len(set(images)) < len(images):
            raise ValueError("'imageList' holds two images of one name")
        trials = tuple(Trial(*found) for found in zip(*sets.values(), strict=True))
        if not trials:
            raise ValueError('it has no trial')
        for number, trial in enumerate(trials, 1):
            if len(np.intersect1d(trial.gallery, trial.probes)):
                raise ValueError(f'trial {number} has an image both in the gallery and among the probes')
    except ValueError as error:
        raise UserError(f"The BLUFR protocol '{path}' is faulty: {error}.") from error
    return Protocol(images, labels, trials)


def _load(path: Path) -> Mapping[str, Array]:
    if path.suffix not in ('.mat', '.npz'):
        raise UserError(f"The BLUFR protocol '{path}' is neither .mat nor .npz: give blufr_lfw_config.mat.")
    try:
        return read_mat(path, VARIABLES) if path.suffix == '.mat' else _load_npz(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no BLUFR protocol '{path}': it comes with the benchmark's toolkit.") from error
    except (OSError, ValueError) as error:
        reason = ' '.join(str(error).split())[:160]
        raise UserError(
            f"The BLUFR protocol '{path}' cannot be read ({reason}): it has to be a .mat of version 5 to 7, or an .npz "
            'without objects.'
        ) from error


def _load_npz(path: Path) -> dict[str, Array]:
    if not path.stat().st_size or not zipfile.is_zipfile(path):
        raise ValueError('not an archive')
    try:
        # Never unpickled: an array of objects is refused.
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in VARIABLES if name in archive}
    except (EOFError, LookupError, MemoryError, RuntimeError, TokenError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f'damaged: {error}') from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f'{name} is no array')
    return found


def _text(cell: object) -> str:
    """A MATLAB string, or one in a cell."""
    values = np.asarray(cell).ravel()
    if len(values) != 1 or not isinstance(values[0], str):
        raise ValueError(f"'imageList' holds an entry that is no file name: {str(cell)[:60]}")
    return str(values[0])


def _integers(values: object) -> Indices:
    numbers = np.asarray(values).ravel()
    if numbers.dtype.kind not in 'iuf' or not np.all(np.isfinite(numbers) & (numbers == np.floor(numbers))):
        raise ValueError('labels and indices have to be whole numbers')
    return numbers.astype(np.int64)


def _places(values: Array, count: int) -> list[Indices]:
    """Of each trial the places from 0 on, of MATLAB's indices from 1 on: a cell each, or a row filled up with zeros."""
    cells = list(values.ravel()) if values.dtype == object else [row[row != 0] for row in np.atleast_2d(values)]
    trials = [_integers(cell) for cell in cells]
    for indices in trials:
        if len(indices) and not 1 <= np.min(indices) <= np.max(indices) <= count:
            raise ValueError(f'an index lies outside 1 … {count}')
        if len(np.unique(indices)) < len(indices):
            raise ValueError('a trial names an image twice')
    return [indices - 1 for indices in trials]
