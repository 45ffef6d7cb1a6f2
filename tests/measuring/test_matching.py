"""Which result belongs to which HR."""

from __future__ import annotations

import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.measuring import matched


def test_equal_names_stems_and_templates() -> None:
    assert matched(['a', 'b'], ['a', 'b']) == [('a', 'a'), ('b', 'b')]
    assert matched(['net/a', 'net/b'], ['x/b', 'y/a']) == [('net/a', 'y/a'), ('net/b', 'x/b')]
    assert matched(['b_x4', 'a_x4'], ['a', 'b'], '{}_x4') == [('b_x4', 'b'), ('a_x4', 'a')]
    assert matched(['net/a'], ['a', 'b'], 'net/{}') == [('net/a', 'a')]


def test_paths_go_before_names() -> None:
    """The same name in two folders is told apart by its path."""
    assert matched(['p/0', 'q/0'], ['p/0', 'q/0']) == [('p/0', 'p/0'), ('q/0', 'q/0')]
    with pytest.raises(UserError, match="2 of the HR are called '0', in different folders"):
        matched(['0', '1'], ['p/0', 'q/0'])


@pytest.mark.parametrize(
    ('results', 'references', 'options', 'message'),
    [
        (['a_x8', 'b_x8'], ['a', 'b'], {}, r"2 of 2 results have no HR \(the first is 'a_x8'.*such as \{\}_x8, or"),
        (['a', 'c'], ['a', 'b'], {}, r"1 of 2 results have no HR \(the first is 'c'"),
        (['a_x4'], ['a'], {'template': 'x_{}'}, r"no HR by the template 'x_\{\}'"),
        (['a'], ['a'], {'template': 'x4'}, r"template 'x4' has to hold '\{\}' once"),
    ],
)
def test_what_has_no_partner_is_named(
    results: list[str], references: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        matched(results, references, **options)
