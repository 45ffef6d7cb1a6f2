"""What a class from outside raises becomes one sentence."""

from __future__ import annotations

import pytest

from fsr_plugins.config.problems import explained
from fsr_plugins.errors import UserError


@pytest.mark.parametrize(
    ('raised', 'sentence'),
    [
        (KeyError('faces'), "the set cannot be opened: the key 'faces' is missing (KeyError in"),
        (KeyError(), 'the set cannot be opened (KeyError in'),
        (ValueError('no folder\nand more'), 'the set cannot be opened: no folder (ValueError in'),
    ],
)
def test_an_exception_is_said_with_its_place(raised: Exception, sentence: str) -> None:
    with pytest.raises(UserError) as said, explained('the set cannot be opened'):
        raise raised
    assert str(said.value).startswith(sentence)
