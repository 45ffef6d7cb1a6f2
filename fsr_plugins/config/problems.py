"""Saying what is wrong with an option file: everything at once, and other people's exceptions in a sentence."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.errors import MISFIT, RunError, UserError, shown
from fsr_plugins.registry import near
from fsr_plugins.values import Options
from fsr_plugins.wording import wanted

logger = logging.getLogger(__name__)

#: Errors by which pydantic says that a value of YAML can never be such an object; what builds the object will judge.
_NOT_JUDGED = frozenset({'is_instance_of', 'is_subclass_of', 'callable_type', 'needs_python_object'})
#: Characters that are shown of what other people's code says.
_LONGEST_REASON = 500


class Problems:
    """Lines of the form ``file:line: key 'a.b' …``, each once.

    Args:
        place: says where a key stands (``file:line``).
        lines: where the lines are collected.
    """

    def __init__(self, place: Callable[[Keys], str], lines: dict[str, None]) -> None:
        self.place = place
        self.lines = lines

    def add(self, keys: Keys, message: str) -> None:
        """Notes that the key at ``keys`` is wrong: ``message`` continues the sentence ``key 'a.b' …``."""
        self.lines[f'{self.place(keys)}: key {shown(".".join(keys))} {message}'] = None

    def unknown(self, keys: Keys, known: Collection[str], of: str, missing: Collection[str] = ()) -> None:
        """Notes that ``of`` has no such key; of those that are near, one that is ``missing`` is meant first."""
        every = f' Known are: {", ".join(sorted(known))}.' if known else ''
        self.add(keys, f'is not known to {of}.{near(keys[-1], missing) or near(keys[-1], known) or every}')

    def validate(self, model: type[BaseModel], values: Options, keys: Keys, extra: set[str], of: str) -> Any:
        """The values as ``model``, or None after noting every problem; keys beyond its fields must be in ``extra``."""
        known = set(model.model_fields) | extra
        missing = [key for key, field in model.model_fields.items() if field.is_required() and key not in values]
        for key in values:
            if key not in known:
                self.unknown((*keys, key), known, of, missing)
        try:
            checked = known if model.model_config.get('extra') == 'allow' else set(model.model_fields)
            return model.model_validate({key: value for key, value in values.items() if key in checked})
        except ValidationError as error:
            self.explain(error, values, keys, of)
            return None

    def explain(self, error: ValidationError, values: object, keys: Keys, of: str) -> None:
        """Notes each wrong key of a failed validation in words; what the branches of a union expect is joined."""
        expected: dict[Keys, list[str]] = {}
        for detail in error.errors():
            if detail['type'] in _NOT_JUDGED:
                continue
            place = _existing(values, detail['loc'], missing=detail['type'] == 'missing')
            if detail['type'] == 'extra_forbidden':
                self.add((*keys, *place), f'is not known to {of}.')
            elif detail['type'] == MISFIT:
                # Options that do not fit together get a sentence of their own.
                inside = (*keys, *place)
                where = f' key {shown(".".join(inside))}:' if inside else ''
                self.lines[f'{self.place(inside)}:{where} {detail["msg"]}.'] = None
            elif detail['type'] == 'missing':
                self.add((*keys, *place), f'is missing: {of} needs it.')
            else:
                expected.setdefault(place, []).append(wanted(detail))
        for place, messages in expected.items():
            value: Any = values
            for key in place:
                value = value[int(key)] if isinstance(value, list) else value[key]
            self.add((*keys, *place), f'is {shown(value)}, but must be {" or ".join(dict.fromkeys(messages))}.')


def _existing(values: Any, location: tuple[int | str, ...], missing: bool) -> Keys:
    """The part of pydantic's location that is keys of ``values``; it also names the branches of unions."""
    keys: list[str] = []
    for step in location:
        # A missing entry of a tuple is named by its number, too.
        listed = isinstance(values, list) and isinstance(step, int) and step < len(values)
        if listed or (isinstance(values, dict) and step in values):
            values = values[step]
            keys.append(str(step))
    return (*keys, str(location[-1])) if missing else tuple(keys)


def fail(lines: Mapping[str, None]) -> None:
    """Ends with every line collected.

    Raises:
        UserError: there is at least one.
    """
    if lines:
        raise UserError('\n'.join(lines))


@contextmanager
def explained(what: str | Callable[[], str]) -> Iterator[None]:
    """Turns an exception of a class that an option file configures into a sentence with its place in the code.

    Such a class is other people's, and may raise anything: of a folder that is not there, a file that is none.
    """
    try:
        yield
    except (UserError, RunError):
        raise
    except Exception as error:
        what = what if isinstance(what, str) else what()
        logger.debug('%s', what, exc_info=True)
        frames = traceback.extract_tb(error.__traceback__)
        # What only passes a call on is not where it went wrong.
        frame = [each for each in frames if not each.filename.endswith('without_cuda.py')][-1]
        missing = isinstance(error, KeyError) and error.args
        reason = f"the key '{error.args[0]}' is missing" if missing else str(error).split('\n')[0]
        reason = reason if len(reason) <= _LONGEST_REASON else f'{reason[:_LONGEST_REASON]}…'
        said = f'{what}: {reason}' if reason else what
        raise UserError(f'{said} ({type(error).__name__} in {frame.filename}:{frame.lineno}).') from error


@contextmanager
def explained_wholly(what: str) -> Iterator[None]:
    """:func:`explained`; and a UserError, too, says ``what`` first."""
    try:
        with explained(what):
            yield
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(what) else f'{what}: {error}') from error
