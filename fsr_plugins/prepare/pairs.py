"""A list of verification pairs among a store's people, for sets that are published without one (CelebA)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Prepared, Preparer, register
from fsr_plugins.stores.opening import open_store


def prepare_pairs(src: str, dst: Path, *, folds: int = 10, number: int = 300, seed: int = 0) -> Prepared:
    """Draws pairs of a store's images and writes them for :class:`fsr_plugins.metrics.verification.Verification`.

    Args:
        src: Folder, ``*.lmdb`` or ``portraits://…`` with identities.
        dst: CSV file to write.
        folds: Number of folds.
        number: Genuine pairs in each, and as many impostor pairs.
        seed: Of the draw, see :func:`fsr_plugins.metrics.pairs.draw_pairs`.

    Returns:
        Images and people that occur in the list; ``left_out`` is the store's other images.

    Raises:
        UserError: no such store, or one without identities or with too few pairs; ``dst`` exists.
    """
    from fsr_plugins.metrics.pairs import draw_pairs, write_pairs

    store = open_store(src)
    if store.identities is None:
        raise UserError(f"'{src}' does not say whose its images are; prepare the data with identities.")
    pairs = draw_pairs(store.keys, store.identities, folds, number, seed)
    write_pairs(dst, pairs)
    used = np.isin(np.asarray(store.keys), [*pairs.first, *pairs.second])
    count = int(used.sum())
    return Prepared(str(dst), count, len(np.unique(store.identities[used])), len(store) - count)


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_pairs`."""
    parser.add_argument('src', metavar='STORE', help='the faces: folder, *.lmdb or portraits://…')
    parser.add_argument('dst', metavar='OUT', type=given_path, help='CSV file to write')
    parser.add_argument('--folds', type=int, default=10, help='number of folds (default: 10)')
    parser.add_argument(
        '--number', type=int, default=300, help='genuine pairs in each fold, and as many impostor pairs (default: 300)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: 0)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_pairs` from parsed arguments."""
    return prepare_pairs(args.src, args.dst, folds=args.folds, number=args.number, seed=args.seed)


register(
    Preparer(
        name='pairs',
        summary='verification pairs, drawn by a seed from prepared faces with identities',
        example='fsr prepare pairs datasets/celeba/test_centre128.lmdb datasets/celeba/pairs.csv --number 300 --seed 0',
        add_arguments=add_arguments,
        run=run,
    )
)
