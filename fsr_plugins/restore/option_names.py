"""The options of ``fsr infer`` by the names that :class:`~fsr_plugins.restore.restorers.Photographs` has for them."""

from __future__ import annotations

_OTHERS = {'weights': 'detector-weights', 'smallest': 'min-face', 'largest': 'max-face'}


def option_of(field: str) -> str:
    """The option that sets an attribute, ``--min-face`` for ``smallest``, say."""
    return f'--{_OTHERS.get(field, field.replace("_", "-"))}'
