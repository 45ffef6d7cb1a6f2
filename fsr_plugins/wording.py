"""What a value of an option has to be, in this toolkit's words and not in pydantic's; what things are, in a line."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

#: By the type of pydantic's error.
_KINDS = {
    **dict.fromkeys(('int_type', 'int_parsing', 'int_from_float'), 'a whole number'),
    'int_parsing_size': 'a smaller whole number',
    **dict.fromkeys(('float_type', 'float_parsing'), 'a number'),
    'finite_number': 'a finite number',
    **dict.fromkeys(('bool_type', 'bool_parsing'), 'true or false'),
    'string_type': 'text',
    'none_required': 'null',
    **dict.fromkeys(('list_type', 'tuple_type', 'set_type', 'frozen_set_type', 'iterable_type'), 'a list'),
    **dict.fromkeys(
        ('dict_type', 'mapping_type', 'model_type', 'model_attributes_type', 'dataclass_type'), 'a block of keys'
    ),
}
#: By the type of pydantic's error, with what it is compared with.
_BOUNDS = {
    'greater_than': 'greater than {gt}',
    'greater_than_equal': 'at least {ge}',
    'less_than': 'less than {lt}',
    'less_than_equal': 'at most {le}',
    'multiple_of': 'a multiple of {multiple_of}',
    'string_too_short': 'text of at least {min_length} characters',
    'string_too_long': 'text of at most {max_length} characters',
    'string_pattern_mismatch': "text of the form '{pattern}'",
}


def many(number: int, noun: str, several: str | None = None) -> str:
    """A number of things as a message says it: '1 picture', '2 pictures', '3 people'."""
    return f'{number} {noun}' if number == 1 else f'{number} {several or noun + "s"}'


def summary_of(thing: object) -> str:
    """What the docstring of a class or function says first, in one line without markup; of itself, not of a parent."""
    lines: list[str] = []
    for line in inspect.cleandoc(thing.__doc__ or '').split('\n'):
        if not line.strip() or (lines and lines[-1].endswith(('.', ':'))):
            break
        lines.append(line.strip())
    named = re.sub(r':[\w:]+:`(?:~[\w.]*?(\w+)|([^`]*))`', lambda role: role[1] or role[2], ' '.join(lines))
    return re.sub('`+', '', named).rstrip(':')


def kind_of(value: object) -> str:
    """What other people's code has given, as a message says it: 'a list', 'a tensor of shape (2, 3)'."""
    if value is None:
        return 'None'
    name, shape = type(value).__name__, getattr(value, 'shape', None)
    article = 'an' if name[0].lower() in 'aeiou' else 'a'
    return f'{article} {name}' if shape is None else f'{article} {name.lower()} of shape {tuple(shape)}'


def wanted(detail: ErrorDetails) -> str:
    """What the value must be, as completes "must be …"; what a validator says itself stays as it is."""
    kind, about = detail['type'], detail.get('ctx', {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**about)
    if kind in ('too_short', 'too_long'):
        number = about['min_length' if kind == 'too_short' else 'max_length']
        # A tuple has as many values as it has types.
        bound = '' if about['field_type'] == 'Tuple' else 'at least ' if kind == 'too_short' else 'at most '
        return f'a list of {bound}{many(number, "value")}'
    return detail['msg'].removeprefix('Value error, ').removeprefix('Input should be ')
