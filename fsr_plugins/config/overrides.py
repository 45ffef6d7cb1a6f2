"""``--set a.b=c``: changing what an option file says from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from fsr_plugins.config.plain_yaml import DEEPEST
from fsr_plugins.config.renames import renamed_key
from fsr_plugins.config.yamlfile import DELETE, Document, Keys, parse_value
from fsr_plugins.errors import UserError
from fsr_plugins.registry import near
from fsr_plugins.values import Options

#: The beginning of the place of what the command line gives.
GIVEN = '--set '
_LONGEST = 150


def apply(document: Document, overrides: Sequence[str]) -> Document:
    """The document with every ``a.b=c`` of ``overrides`` applied, in order.

    ``stages.<stage>.a.b=c`` changes that stage. ``a.b=c`` changes the key wherever it stands, in the common part and in
    stages; where it stands nowhere, it is added to each part that has the mapping ``a``; where none has, to the common
    part. A mapping given as value replaces what was there.

    Raises:
        UserError: not of the form ``key=value``, not YAML, or a stage that does not exist.
    """
    for override in overrides:
        name, sign, text = override.partition('=')
        # Messages quote it; the value may be of any length.
        override = override if len(override) <= _LONGEST else f'{override[:_LONGEST]}…'
        keys = tuple(name.strip().split('.'))
        if not sign or not all(keys) or len(keys) > DEEPEST:
            raise UserError(f"--set {override}: write it as 'key.of.option=value', e.g. --set train.total_iter=100.")
        if DELETE in keys:
            raise UserError(
                f"--set {override}: '{DELETE}' stands in option files alone. Here a mapping as value replaces what was "
                "there, and null takes it away: --set 'network_g={type: EDSR, …}'."
            )
        place = f'{GIVEN}{override}'
        keys, value = renamed_key(keys, parse_value(text, place), place)
        for target in _targets(document.values, keys, override):
            # A mapping also replaces what its stage would inherit.
            given = {**value, DELETE: True} if isinstance(value, dict) else value
            places = {key: where for key, where in document.places.items() if key[: len(target)] != target}
            around = (target[:length] for length in range(1, len(target) + 1))
            new = {key: place for key in around if key not in places}
            changed = _put(document.values, target, given)
            assert isinstance(changed, dict)
            document = Document(changed, {**places, **new})
    return document


def _targets(values: Options, keys: Keys, override: str) -> list[Keys]:
    stages = values.get('stages')
    names = list(stages) if isinstance(stages, dict) else []
    if keys[0] == 'stages':
        if len(keys) < 3 or keys[1] not in names:
            hint = near(keys[1], names) if len(keys) > 1 else ''
            there = ', '.join(names) or 'none'
            raise UserError(f'--set {override}: there is no such stage (there are: {there}).{hint}')
        return [keys]
    parts: list[Keys] = [(), *(('stages', name) for name in names)]
    holding = [part for part in parts if _find(values, (*part, *keys)) is not None]
    around = [part for part in parts if len(keys) > 1 and isinstance(_find(values, (*part, *keys[:-1])), list | dict)]
    return [(*part, *keys) for part in holding or around or [()]]


class _Nothing:
    """What a key that holds null is not."""


def _find(value: object, keys: Keys) -> object:
    """What stands at ``keys``; null counts as something, nothing as None."""
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return _Nothing if value is None else value


def _put(values: object, keys: Keys, value: object) -> object:
    """A copy of ``values`` with ``value`` at ``keys``; mappings on the way are made where there are none."""
    if not keys:
        return value
    if isinstance(values, list) and keys[0].isdecimal() and int(keys[0]) < len(values):
        number = int(keys[0])
        return [*values[:number], _put(values[number], keys[1:], value), *values[number + 1 :]]
    mapping = values if isinstance(values, dict) else {}
    return {**mapping, keys[0]: _put(mapping.get(keys[0]), keys[1:], value)}
