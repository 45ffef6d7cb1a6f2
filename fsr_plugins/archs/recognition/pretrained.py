"""Recognisers with their weights, from a block of an option file."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from fsr_plugins.archs.recognition.base import Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY, lookup
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile


def make_recogniser(block: ReadBlock) -> Recogniser:
    """Builds a recogniser, loads its weights and freezes it.

    Args:
        block: ``{type: FaceNet, path: …, adapt: resize}``; without ``path``, or with null, the published file is looked
            for and fetched. A checkpoint that this toolkit trained brings its arguments (``num_feat`` …) along; an
            ``adapt`` in the block goes before the file's.

    Raises:
        UserError: an unknown type or argument; weights that are absent or of another network.
    """
    arguments = dict(block)
    factory = recogniser_factory(arguments.pop('type', None))
    try:
        return factory(**arguments)
    except TypeError as error:
        raise UserError(f"The recogniser '{block['type']}' cannot be built with {arguments}: {error}.") from error


def recogniser_weight(block: ReadBlock) -> WeightFile:
    """The weight file that :func:`make_recogniser` loads for the same block; nothing is fetched.

    Raises:
        UserError: no such recogniser, or one that needs a ``path`` and has none.
    """
    return _recogniser_class(block.get('type')).weight(block.get('path'))


def recogniser_factory(name: str | None) -> Callable[..., Recogniser]:
    """What builds the recogniser registered as ``name``; its signature is what a block may hold beside ``type``.

    Raises:
        UserError: no such recogniser.
    """
    cls = _recogniser_class(name)

    @wraps(cls.pretrained)
    def factory(*args: Any, **kwargs: Any) -> Recogniser:
        return cls.pretrained(*args, **kwargs)

    # What messages about a block call it.
    factory.__name__ = cls.__name__
    return factory


def _recogniser_class(name: str | None) -> type[Recogniser]:
    known = sorted(key for key, cls in ARCH_REGISTRY if isinstance(cls, type) and issubclass(cls, Recogniser))
    if name is None:
        raise UserError(f"The block of a recogniser needs a key 'type': one of {', '.join(known)}.")
    cls = lookup('archs', name)
    if name not in known:
        raise UserError(f"The network '{name}' is no recogniser: choose one of {', '.join(known)}.")
    return cls
