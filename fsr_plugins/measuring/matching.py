"""Which result belongs to which HR, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fsr_plugins.errors import UserError

#: What a template has in the place of an HR's name.
PLACE = '{}'


def matched(
    results: Sequence[str], references: Sequence[str], template: str | None = None, *, option: str = '--template'
) -> list[tuple[str, str]]:
    """Pairs of keys, result and HR, in the results' order.

    A key is a file's path below its folder without its ending. Of a result and its HR the keys are equal; or, where no
    key is in both, the last parts of the paths, the files' own names, are. HR without results are left out.

    Args:
        results, references: keys, each unique.
        template: how a result is called by its HR's key: ``{}_x4`` or ``net/{}``.
        option: how the template is given, for messages.

    Raises:
        UserError: a result without HR, or a name that several have; a template without a place for the name.
    """
    if template is not None:
        if template.count(PLACE) != 1:
            raise UserError(f"The template '{template}' has to hold '{PLACE}' once, in the place of HR's name.")
        of_result = {template.replace(PLACE, key): key for key in references}
        how = f"by the template '{template}' "
    elif set(results).isdisjoint(references):
        for keys, what in ((results, 'results'), (references, 'HR')):
            _check_names(keys, what)
        by_name = {_name(key): key for key in references}
        of_result = {key: by_name[_name(key)] for key in results if _name(key) in by_name}
        how = ''
    else:
        of_result = {key: key for key in references}
        how = ''
    pairs = [(key, of_result[key]) for key in results if key in of_result]
    alone = [key for key in results if key not in of_result]
    advice = f'give {option} if their names differ, such as {_likely(results[0], references)}'
    if alone:
        raise UserError(
            f"{len(alone)} of {len(results)} results have no HR {how}(the first is '{alone[0]}'; HR has "
            f"'{references[0]}' and others): {advice}, or remove them."
        )
    return pairs


def _likely(result: str, references: Sequence[str]) -> str:
    """The template of a result whose name holds that of an HR, the longest; else an example."""
    held = max((key for key in references if key in result and key != result), key=len, default='')
    return result.replace(held, PLACE, 1) if held else '{}_x4'


def _name(key: str) -> str:
    return key.rpartition('/')[2]


def _check_names(keys: Sequence[str], what: str) -> None:
    name, count = Counter(map(_name, keys)).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{count} of the {what} are called '{name}', in different folders, and no path is the same in both: "
            'give both sets the same folders.'
        )
