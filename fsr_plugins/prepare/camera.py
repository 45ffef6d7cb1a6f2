"""A degradation applied to prepared faces: small pictures that stand for real ones, stored."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import (
    Format,
    Prepared,
    Preparer,
    add_output_arguments,
    register,
)
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.plan import Item, ItemResult, PreparationPlan
from fsr_plugins.registry import build, load_plugins, lookup
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.store import Store

if TYPE_CHECKING:
    from fsr_plugins.degradations.base import Degradation


def prepare_camera(
    src: str,
    dst: Path,
    *,
    degradation: str = 'NeutralCamera',
    scale: int | None = None,
    seed: int = 0,
    arguments: Mapping[str, object] | None = None,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Degrades every image of a store by a seed of its own, a function of ``seed`` and its key.

    Keys and identities stay, landmarks are scaled, parsing maps are left out. An image's result does not depend on what
    else the store holds.

    Args:
        src: Folder, ``*.lmdb`` or ``portraits://…``.
        dst: Folder or ``*.lmdb`` to write.
        degradation: Name of a registered degradation.
        scale: By which the sides are divided, for a degradation that takes one; None: its own, or 4.
        seed: Of parameters and noise.
        arguments: Further arguments of the degradation.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: there is no such store or degradation, it does not take the arguments, or its scale does not divide
            an image's sides.
    """
    store = open_store(src)
    takes_scale = 'scale' in inspect.signature(lookup('degradations', degradation)).parameters
    if scale is not None and not takes_scale:
        raise UserError(f"--scale has no effect: '{degradation}' takes none; leave it out.")
    if scale is not None and 'scale' in (arguments or {}):
        raise UserError('--scale and --argument scale=… say the same: leave one of them out.')
    block: dict[str, object] = {'type': degradation}
    block |= {'scale': 4 if scale is None else scale} if takes_scale else {}
    block |= arguments or {}
    module: Degradation = build('degradations', block).eval()
    sizes = store.sizes()
    wrong = np.flatnonzero((sizes % module.scale).any(axis=1))
    if wrong.size:
        height, width = sizes[wrong[0]]
        raise UserError(
            f"'{store.where(store.keys[wrong[0]])}' is {width}x{height}, which is not a multiple of the scale "
            f'{module.scale}; prepare the images in another size.'
        )
    protocol = {'source': store_checksum(store), 'degradation': block, 'seed': seed}
    people = store.identities
    items = [
        Item(key, store.where(key), None if people is None else int(people[place]), place)
        for place, key in enumerate(store.keys)
    ]
    plan = PreparationPlan('camera', protocol, items, lambda chunk: _made(store, module, seed, chunk))
    return carry_out(plan, dst, form=form, encoding=encoding)


def _made(store: Store, degradation: Degradation, seed: int, items: Sequence[Item]) -> Iterator[ItemResult]:
    from fsr_plugins.degradations.photograph import photograph, scaled_points

    with store.reader() as read:
        images = [read(item.key) for item in items]
        small: dict[int, Image] = {}
        shapes = [image.shape for image in images]
        for shape in sorted(set(shapes)):
            # Images of one size are degraded together.
            places = [place for place, other in enumerate(shapes) if other == shape]
            seeds = np.array([image_seed(seed, items[place].key) for place in places], np.int64)
            results = photograph(degradation, np.stack([images[place] for place in places]), seeds)
            small.update(zip(places, results, strict=True))
    for place, item in enumerate(items):
        points = None if store.landmarks is None else scaled_points(store.landmarks[item.extra], degradation.scale)
        yield [Face(item.key, small[place], None, points)]


def image_seed(seed: int, key: str) -> int:
    """The seed in [0, 2^63) by which the image of a key is degraded."""
    from fsr_plugins.data.seeding import key_number, mix

    return mix(seed, key_number(key))


def _arguments(pairs: Sequence[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition('=')
        if not key or not equals:
            raise UserError(f"--argument '{pair}' is not KEY=VALUE, e.g. jpeg_quality=[50,95].")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--argument '{pair}': the value is no YAML: {error}.") from error
    return values


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_camera`."""
    parser.add_argument('src', metavar='SRC', help='the faces: folder, *.lmdb or portraits://…')
    add_output_arguments(parser)
    parser.add_argument(
        '--degradation',
        metavar='NAME',
        default='NeutralCamera',
        help='default: NeutralCamera; fsr list degradations shows all',
    )
    parser.add_argument('--scale', type=int, help='divides the sides (default: 4)')
    parser.add_argument('--seed', type=int, default=0, help='of parameters and noise (default: 0)')
    parser.add_argument(
        '--argument',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='of the degradation, the value as in an option file; may be repeated',
    )


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_camera` from parsed arguments."""
    load_plugins()  # the degradation may be a plugin's
    return prepare_camera(
        args.src,
        args.dst,
        degradation=args.degradation,
        scale=args.scale,
        seed=args.seed,
        arguments=_arguments(args.argument),
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='camera',
        summary='small faces: a degradation applied to prepared faces; default: an unknown camera',
        example='fsr prepare camera datasets/lfw/fit64_b.lmdb datasets/lfw/fit_real_lr16_b.lmdb --scale 4 --seed 0',
        add_arguments=add_arguments,
        run=run,
    )
)
