"""A stage's merged options, each with the place where it was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from fsr_plugins.config.experiment import Stage
from fsr_plugins.config.overrides import GIVEN
from fsr_plugins.config.yamlfile import Keys

#: The place of what no file says.
DEFAULT = 'default'


class Option(NamedTuple):
    """One option of a stage."""

    key: str  #: its way from the top, ``train.total_iter``
    value: object  #: a plain value; a mapping only if it is empty
    place: str  #: ``file:line``, the ``--set`` that gave it, or :data:`DEFAULT`

    def line(self) -> str:
        """The option as a line: key, value as JSON, place."""
        return f'{self.key}: {json.dumps(self.value, ensure_ascii=False)}  # {self.place}'


def list_options(stage: Stage) -> list[Option]:
    """Every option of a stage after inheritance, overrides and defaults, in the order of the merged file."""
    options = []
    for keys, value in _leaves(stage.opt, ()):
        place = stage.places.get(keys)
        if place is None:
            # A mapping given by --set brings what is in it, and no places for that.
            around = stage.where(keys)
            place = around if around.startswith(GIVEN) else DEFAULT
        options.append(Option('.'.join(keys), value, place))
    return options


def _leaves(value: object, keys: Keys) -> Iterator[tuple[Keys, object]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*keys, str(key)))
    else:
        yield keys, value
