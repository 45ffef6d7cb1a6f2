"""Opening a store by its spec: a folder, an LMDB, or ``<scheme>://…`` of a registered scheme."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from fsr_plugins.arguments import home_path
from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.registry import load_plugins, near
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.lmdb import LmdbStore
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.union import UnionStore

#: What opens the specs of a scheme; it gets the whole spec.
Opener = Callable[[str], Store]
OpenerT = TypeVar('OpenerT', bound=Opener)

#: Openers by scheme, the part of a spec before ``://``.
SCHEMES: dict[str, Opener] = {}
_SEPARATOR = '://'


def register_scheme(scheme: str) -> Callable[[OpenerT], OpenerT]:
    """Registers the decorated function, or class of a store, as what opens ``<scheme>://…``.

    Raises:
        ValueError: the scheme is taken.
    """

    def register(opener: OpenerT) -> OpenerT:
        if SCHEMES.setdefault(scheme, opener) is not opener:
            raise ValueError(f"The scheme '{scheme}' is registered already, for {SCHEMES[scheme]}.")
        return opener

    return register


def open_store(spec: str | os.PathLike[str] | Sequence[str], recursive: bool = False) -> Store:
    """Opens a folder, an LMDB (a path ending in ``.lmdb``) or what a scheme stands for (``portraits://…``).

    Args:
        spec: One of these, or a list of them that is seen as one store (:class:`~fsr_plugins.stores.UnionStore`).
        recursive: Of folders, the images of all folders below them, too.

    Raises:
        UserError: nothing is there, it is empty or damaged, the scheme is unknown, or the list is empty.
    """
    if not isinstance(spec, str | os.PathLike):
        return UnionStore([open_store(part, recursive) for part in spec])
    spec = os.fspath(spec)
    if not spec:
        raise UserError("The name of a data folder is empty: name one ('.' is the working directory).")
    scheme, separator, _ = spec.partition(_SEPARATOR)
    if separator and not os.path.exists(spec):
        if scheme not in SCHEMES:
            load_plugins()
        if scheme not in SCHEMES:
            raise UserError(
                f"'{spec}': no store has the scheme '{scheme}'.{near(scheme, SCHEMES)} "
                f'Known: {", ".join(sorted(SCHEMES))}.'
            )
        return SCHEMES[scheme](spec)
    path = home_path(spec)
    if not os.path.exists(path):
        raise UserError(
            f"The data folder '{shown(spec)}' does not exist (looked in '{shown(path.absolute())}'); "
            'see datasets/README.md.'
        )
    if not os.path.isdir(path):
        raise UserError(f"'{spec}' is a file; a folder of images or an LMDB folder is expected.")
    return LmdbStore(path) if path.suffix == '.lmdb' else FolderStore(path, recursive)
