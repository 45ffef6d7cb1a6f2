"""Lists of pairs of faces for verification: read, drawn and written."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from fsr_plugins.arguments import home_path
from fsr_plugins.errors import UserError

#: First line of a list in CSV.
HEADER = ['fold', 'first', 'second', 'same']
#: A pair as one row of :data:`HEADER`.
Row = tuple[int, str, str, bool]
#: Counts, folds and numbers of images.
_NUMBER = re.compile('[0-9]{1,9}')


@dataclass(frozen=True)
class Pairs:
    """Pairs of images by key: whether both are the same person, and the fold each belongs to.

    ``same`` is bool (n,), ``fold`` int64 (n,), any numbers from 0 on.
    """

    first: list[str]
    second: list[str]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def read_pairs(path: str | Path) -> Pairs:
    """Reads a list of pairs.

    Either LFW's own layout: a first line ``folds<TAB>n``, or ``n`` alone for a single fold, then for each fold n
    genuine pairs ``Name<TAB>1<TAB>4`` and n impostor pairs ``Name<TAB>1<TAB>Other<TAB>3``; the keys are
    ``Name_0001``. Or CSV with the header ``fold,first,second,same``, same being 1 or 0.

    Raises:
        UserError: the file is absent or no such list; the message names the line.
    """
    path = home_path(path)
    if not path.is_file():
        raise UserError(f"There is no list of pairs '{path}'.")
    try:
        with path.open(encoding='utf-8-sig', newline='') as file:
            first = file.readline()
            file.seek(0)
            read = _csv_rows if first.strip() == ','.join(HEADER) else _lfw_rows
            rows = list(read(file, path))
    except OSError as error:
        raise UserError(f"The list of pairs '{path}' cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The list of pairs '{path}' is no text in UTF-8 ({error.reason}).") from error
    if not rows:
        raise UserError(f"The list of pairs '{path}' holds no pair.")
    folds, one, other, same = zip(*rows, strict=True)
    return Pairs(list(one), list(other), np.array(same, bool), np.array(folds, np.int64))


def write_pairs(path: str | Path, pairs: Pairs) -> None:
    """Writes a list of pairs as CSV, for :func:`read_pairs`.

    Raises:
        UserError: the file exists, or cannot be written.
    """
    rows = zip(pairs.fold.tolist(), pairs.first, pairs.second, pairs.same.astype(int).tolist(), strict=True)
    try:
        with Path(path).open('x', encoding='utf-8', newline='') as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerow(HEADER)
            writer.writerows(rows)
    except FileExistsError as error:
        raise UserError(f"'{path}' exists: remove it or choose another name.") from error
    except OSError as error:
        raise UserError(f"The list of pairs '{path}' cannot be written: {error.strerror or error}.") from error


def draw_pairs(
    keys: Sequence[str],
    identities: npt.ArrayLike,
    folds: int = 10,
    per_fold: int = 300,
    seed: int = 0,
    nearest: int | None = None,
    embeddings: npt.ArrayLike | None = None,
) -> Pairs:
    """Draws pairs among the images of a set: in each fold ``per_fold`` genuine and as many impostor pairs.

    Each kind is drawn uniformly from all pairs of its kind, none twice. The same keys, identities and seed give the
    same list, in whatever order the images come.

    Args:
        keys: of the images, unique.
        identities: whose they are, integers (n,).
        folds, per_fold: at least 1.
        seed: from 0 to 2^32 - 1.
        nearest: draws the impostor pairs among :func:`alike` people instead, who are told apart less easily; k.
        embeddings: (n, D) of the images, by which people are alike; needed with ``nearest``.

    Raises:
        UserError: an argument is out of range, or the set has too few pairs of a kind.
    """
    for name, value in (('folds', folds), ('per_fold', per_fold)):
        if value < 1:
            raise UserError(f"'{name}' of a list of pairs is {value}: at least 1 is needed.")
    if not 0 <= seed < 1 << 32:
        raise UserError(f"'seed' of a list of pairs is {seed}: it is a number from 0 to 2^32 - 1.")
    ordered = sorted(zip(np.asarray(identities).tolist(), keys, range(len(keys)), strict=True))
    people, names = np.array([person for person, _, _ in ordered], np.int64), [key for _, key, _ in ordered]
    # Of the pairs (earlier, later) in this order, a later image has as many genuine ones as there are images of the
    # person before it, and as many impostor ones as there are images before the person's first.
    start = np.searchsorted(people, people, side='left')
    before = np.arange(len(people)) - start
    # RandomState's stream is the same in every release of numpy; that of its newer generators need not be.
    random, number = np.random.RandomState(seed), folds * per_fold
    kinds = [
        _draw(random, number, before, start, 'genuine'),
        _draw(random, number, start, np.zeros_like(start), 'impostor')
        if nearest is None
        else _draw_alike(random, number, people, np.asarray(embeddings)[[row for _, _, row in ordered]], nearest),
    ]
    # (2, folds · per_fold) of each kind to fold, kind, pair.
    earlier, later = np.stack(kinds).reshape(2, 2, folds, per_fold).transpose(1, 2, 0, 3).reshape(2, -1)
    return Pairs(
        [names[place] for place in earlier.tolist()],
        [names[place] for place in later.tolist()],
        np.tile(np.repeat([True, False], per_fold), folds),
        np.repeat(np.arange(folds, dtype=np.int64), 2 * per_fold),
    )


def _draw(
    random: np.random.RandomState, number: int, counts: npt.NDArray[np.int64], start: npt.NDArray[np.int64], kind: str
) -> npt.NDArray[np.int64]:
    """Places (2, number) of distinct pairs, drawn uniformly.

    All pairs are counted through, never made: the k-th image is the later one of ``counts[k]`` of them, the earlier
    ones being images ``start[k]``, ``start[k] + 1``, ….
    """
    later, place = _counted(random, number, counts, kind)
    return np.stack([start[later] + place, later])


def _draw_alike(
    random: np.random.RandomState,
    number: int,
    people: npt.NDArray[np.int64],
    embeddings: npt.NDArray[np.floating],
    nearest: int,
) -> npt.NDArray[np.int64]:
    """Places (2, number) of distinct impostor pairs, drawn uniformly from those of alike people."""
    _, first, sizes = np.unique(people, return_index=True, return_counts=True)
    one, other = alike(people, embeddings, nearest)
    which, place = _counted(random, number, sizes[one] * sizes[other], 'impostor')
    row, column = np.divmod(place, sizes[other[which]])
    return np.stack([first[one[which]] + row, first[other[which]] + column])


def alike(
    people: npt.NDArray[np.int64], embeddings: npt.NDArray[np.floating], nearest: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of people one of whom is among the ``nearest`` people to the other, each pair once.

    Near is by the cosine of a person's mean embedding.

    Args:
        people: (n,) whose the images are.
        embeddings: (n, D) of unit length; images that have none (NaN) do not count.
        nearest: k; with fewer others it is all of them.

    Returns:
        Two arrays (m,), places among the people in ascending order, the first below the second.

    Raises:
        UserError: ``nearest`` below 1.
    """
    if nearest < 1:
        raise UserError(f"'nearest' of a list of pairs is {nearest}: at least 1 is needed.")
    names, person = np.unique(people, return_inverse=True)
    nearest = min(nearest, len(names) - 1)
    if nearest < 1:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    means = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(means, person, np.nan_to_num(embeddings))
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    cosine = means @ means.T
    np.fill_diagonal(cosine, -np.inf)
    others = np.argpartition(-cosine, nearest - 1, axis=1)[:, :nearest]
    pairs = np.stack([np.repeat(np.arange(len(names)), nearest), others.ravel()])
    one, other = np.unique(np.sort(pairs, axis=0), axis=1)
    return one, other


def _counted(
    random: np.random.RandomState, number: int, counts: npt.NDArray[np.int64], kind: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct draws (number,) from ``counts`` in a row: in which count each lies, and its place there."""
    ends = np.cumsum(counts)
    there = int(ends[-1]) if len(ends) else 0
    if number > there:
        raise UserError(
            f'The set has {there} {kind} pairs, but {number} are asked for: '
            "ask for fewer in a fold (the metric's per_fold, --number of `fsr prepare pairs`), or for fewer folds."
        )
    if there <= 4 * number:
        drawn = random.permutation(there)[:number]
    else:
        drawn = np.empty(0, np.int64)
        while len(drawn) < number:
            drawn = np.concatenate([drawn, random.randint(there, size=number, dtype=np.int64)])
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        drawn = drawn[:number]
    which = np.searchsorted(ends, drawn, side='right')
    return which, drawn - (ends[which] - counts[which])


def _lfw_rows(file: TextIO, path: Path) -> Iterator[Row]:
    head = file.readline().split()
    if len(head) not in (1, 2) or not all(_NUMBER.fullmatch(text) and int(text) for text in head):
        raise _wrong(
            path, 1, f"neither LFW's '<folds> <pairs of a kind in each>' nor the header '{','.join(HEADER)}' of a CSV"
        )
    folds, number = int(head[0]) if len(head) == 2 else 1, int(head[-1])
    lines = ((line, text.split()) for line, text in enumerate(file, 2) if text.strip())
    count = 0
    for fold in range(folds):
        for same in chain(repeat(True, number), repeat(False, number)):
            line, fields = next(lines, (0, []))
            if not line:
                announced = 2 * folds * number
                raise UserError(f"The list of pairs '{path}' ends after {count} of {announced} pairs; fetch it again.")
            yield fold, *_lfw_keys(fields, same, path, line), same
            count += 1
    for line, _ in lines:
        raise _wrong(path, line, f'more than the {count} pairs that line 1 announces')


def _lfw_keys(fields: list[str], same: bool, path: Path, line: int) -> tuple[str, str]:
    wanted = "a genuine pair 'Name 1 2'" if same else "an impostor pair 'Name 1 Other 2'"
    if len(fields) != (3 if same else 4) or not all(_NUMBER.fullmatch(text) for text in (fields[1], fields[-1])):
        raise _wrong(path, line, f'not {wanted}, which comes here')
    people = (fields[0], fields[0] if same else fields[2])
    one, other = (f'{name}_{int(number):04d}' for name, number in zip(people, (fields[1], fields[-1]), strict=True))
    if one == other or not same and people[0] == people[1]:
        raise _wrong(path, line, 'one image twice' if same else 'a pair of one person among the impostors')
    return one, other


def _csv_rows(file: TextIO, path: Path) -> Iterator[Row]:
    reader = csv.reader(file, strict=True)
    next(reader)
    try:
        for row in reader:
            if len(row) != len(HEADER) or not _NUMBER.fullmatch(row[0]) or row[3] not in ('0', '1'):
                raise _wrong(path, reader.line_num, "not 'fold,first,second,same' with numbers, same being 0 or 1")
            if not row[1] or not row[2] or row[1] == row[2]:
                raise _wrong(path, reader.line_num, 'not a pair of two images')
            yield int(row[0]), row[1], row[2], row[3] == '1'
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f'no CSV ({error})') from error


def _wrong(path: Path, line: int, what: str) -> UserError:
    return UserError(f"The list of pairs '{path}', line {line}: this is {what}.")
