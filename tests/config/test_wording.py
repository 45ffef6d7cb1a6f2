"""What a value has to be is said in plain words, the same everywhere."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fsr_plugins.wording import summary_of, wanted


class Block(BaseModel):
    model_config = ConfigDict(strict=True)
    key: int = 0


@pytest.mark.parametrize(
    ('hint', 'value', 'said'),
    [
        (int, '4', 'a whole number'),
        (int, 4.5, 'a whole number'),
        (dict[int, str], {'x': 'y'}, 'a whole number'),
        (float, 'fast', 'a number'),
        (Annotated[float, Field(allow_inf_nan=False)], float('nan'), 'a finite number'),
        (bool, 'yes', 'true or false'),
        (str, 4, 'text'),
        (None, 4, 'null'),
        (list[int], 4, 'a list'),
        (tuple[float, float], 4, 'a list'),
        (tuple[float, float], [0.9, 0.99, 0.999], 'a list of 2 values'),
        (Annotated[list[int], Field(max_length=2)], [1, 2, 3], 'a list of at most 2 values'),
        (Annotated[list[int], Field(min_length=1)], [], 'a list of at least 1 value'),
        (dict[str, int], 4, 'a block of keys'),
        (Block, 4, 'a block of keys'),
        (Annotated[int, Field(gt=0)], 0, 'greater than 0'),
        (Annotated[int, Field(ge=1)], 0, 'at least 1'),
        (Annotated[float, Field(lt=1)], 1.0, 'less than 1.0'),
        (Annotated[int, Field(le=8)], 9, 'at most 8'),
        (Annotated[int, Field(multiple_of=4)], 9, 'a multiple of 4'),
        (Annotated[str, Field(pattern='^a$')], 'b', "text of the form '^a$'"),
        (Literal['a', 'b'], 'c', "'a' or 'b'"),
    ],
)
def test_it_completes_must_be(hint: Any, value: Any, said: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    python = tuple(value) if hint == tuple[float, float] and isinstance(value, list) else value
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(python, strict=True)
    assert wanted(caught.value.errors()[0]) == said
    if value == value:  # JSON has no NaN
        with pytest.raises(ValidationError) as caught:
            adapter.validate_json(json.dumps(value), strict=True)
        assert wanted(caught.value.errors()[0]) == said


class Described:
    """Takes a :class:`~a.b.Store`, as
    :func:`open_store` gives ``it``::

        more
    """


class Undescribed(Described):
    pass


def test_what_a_thing_is_is_said_in_a_line_without_markup() -> None:
    assert summary_of(Described) == 'Takes a Store, as open_store gives it'
    assert summary_of(Undescribed) == ''
