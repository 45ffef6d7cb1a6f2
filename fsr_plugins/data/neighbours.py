"""The images most similar to each image among those of the same person: exact, in blocks, in bounded memory.

A person of few images costs little arithmetic and many calls, so persons of about one size are padded to equal size
and go through one batched matrix product. A person of many images is taken tile by tile, and the best of each tile are
merged. Cosine and column are packed into one integer, which makes the order total: equal cosines go to the lower one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Images of one tile's side: persons of more are taken tile by tile.
_TILE = 1024
#: The most cosines of a padded batch, and the most images: temporary arrays take some tens of MB.
_COSINES, _ROWS = 1 << 20, 1 << 13
#: How much larger than the smallest the largest person of a padded batch may be.
_PADDING = 1.125
#: Of what is no neighbour; below every packed cosine.
_NONE = torch.iinfo(torch.int64).min

Rows = npt.NDArray[np.int64]


def nearest_of_same_identity(embeddings: npt.NDArray[np.float32], identities: Rows, k: int) -> Rows:
    """For each image the ``k`` others of the same person with the largest cosine.

    Args:
        embeddings: float32 (n, D), of unit length; may be a memory map, which is read block by block.
        identities: int64 (n,), any numbers.
        k: at least 1.

    Returns:
        int64 (n, k), positions in [0, n), the largest cosine first and equal ones by position; -1 where the person has
        fewer others.

    Raises:
        ValueError: shapes that do not fit.
    """
    if embeddings.ndim != 2 or identities.shape != embeddings.shape[:1] or k < 1:
        raise ValueError(
            f'embeddings {embeddings.shape} and identities {identities.shape} must be (n, D) and (n,), k {k} at least 1'
        )
    found = np.full((len(identities), k), -1, np.int64)
    # Stable, so that a person's images stay in the order of their positions.
    order = np.argsort(identities, kind='stable')
    _, starts, sizes = np.unique(identities[order], return_index=True, return_counts=True)
    with torch.inference_mode():
        for members, present in _padded(starts, sizes):
            positions = order[members]
            found[positions[present]] = _batch(embeddings, positions, present, k)[present]
        for person in np.flatnonzero(sizes > _TILE):
            positions = order[starts[person] : starts[person] + sizes[person]]
            for first in range(0, len(positions), _TILE):
                found[positions[first : first + _TILE]] = _strip(embeddings, positions, first, k)
    return found


def _padded(starts: Rows, sizes: Rows) -> Iterator[tuple[Rows, npt.NDArray[np.bool_]]]:
    """Persons of 2 to _TILE images, batch by batch: places in the sorted order, (persons, size), and which are real."""
    some = np.flatnonzero((sizes > 1) & (sizes <= _TILE))
    some = some[np.argsort(sizes[some], kind='stable')]
    first = 0
    while first < len(some):
        largest = sizes[some[first:]]
        # Were the batch to end behind a person, this is what it would take; grows from person to person.
        number = np.arange(1, len(largest) + 1)
        fits = (largest <= largest[0] * _PADDING) & (number * largest <= _ROWS) & (number * largest**2 <= _COSINES)
        count = max(1, int(fits.argmin()) if not fits.all() else len(fits))
        chosen = some[first : first + count]
        columns = np.arange(sizes[chosen[-1]])
        present = columns < sizes[chosen, None]
        yield np.where(present, starts[chosen, None] + columns, starts[chosen, None]), present
        first += count


def _batch(embeddings: npt.NDArray[np.float32], positions: Rows, present: npt.NDArray[np.bool_], k: int) -> Rows:
    """Neighbours (persons, size, k) within each person of a padded batch; those of padding mean nothing."""
    faces = torch.from_numpy(embeddings[positions])
    packed = _pack(faces @ faces.transpose(1, 2), 0)
    packed.masked_fill_(torch.from_numpy(~present)[:, None, :], _NONE)
    packed.diagonal(dim1=1, dim2=2).fill_(_NONE)
    columns = _columns(_best(packed, k))
    persons = np.arange(len(positions))[:, None, None]
    return np.where(columns >= 0, positions[persons, columns], -1)


def _strip(embeddings: npt.NDArray[np.float32], positions: Rows, first: int, k: int) -> Rows:
    """Neighbours (at most _TILE, k) of a person's images from ``first`` on."""
    rows = torch.from_numpy(embeddings[positions[first : first + _TILE]])
    best = torch.full((len(rows), k), _NONE)
    for start in range(0, len(positions), _TILE):
        columns = torch.from_numpy(embeddings[positions[start : start + _TILE]])
        packed = _pack(rows @ columns.T, start)
        if start == first:
            packed.fill_diagonal_(_NONE)
        best = _best(torch.cat([best, _best(packed, k)], dim=1), k)
    places = _columns(best)
    return np.where(places >= 0, positions[places], -1)


def _pack(cosines: Tensor, first_column: int) -> Tensor:
    """Cosines and their columns as int64: the larger the cosine, and then the lower the column, the larger."""
    bits = cosines.contiguous().view(torch.int32)
    # The bits of a float without its sign grow with its size; this also makes -0 equal to 0.
    ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    columns = torch.arange(first_column, first_column + cosines.shape[-1])
    return (ordered.to(torch.int64) << 32) - columns


def _best(packed: Tensor, k: int) -> Tensor:
    """The ``k`` largest of the last axis in falling order, filled up with _NONE."""
    found = packed.topk(min(k, packed.shape[-1]), dim=-1).values
    return torch.nn.functional.pad(found, (0, k - found.shape[-1]), value=_NONE)


def _columns(packed: Tensor) -> Rows:
    """The columns of packed cosines, -1 for _NONE."""
    columns = (-packed) & 0xFFFFFFFF
    return torch.where(packed == _NONE, -1, columns).numpy()
