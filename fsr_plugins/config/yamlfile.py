"""Reading option files: plain YAML only, every key's place kept, ``_base_`` inheritance merged by mmengine."""

from __future__ import annotations

import importlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fsr_plugins.config.plain_yaml import PlainLoader, check_size, is_merge, is_text, tag_name
from fsr_plugins.config.renames import renamed
from fsr_plugins.errors import UserError, shown
from fsr_plugins.mending import later
from fsr_plugins.values import Options

if TYPE_CHECKING:
    from mmengine.config import Config

#: A key's way from the top of a document; list items by their number.
Keys = tuple[str, ...]
#: Where a key was written: ``file:line``, or the ``--set`` that gave it.
Places = dict[Keys, str]

BASE = '_base_'
DELETE = '_delete_'
#: The most files over which one inherits another, and the most bytes of one.
_LONGEST_CHAIN, _LONGEST_FILE = 50, 2**20


@dataclass
class Document:
    """The values of an option file, and where each key stands."""

    values: Options
    places: Places = field(default_factory=dict)


def parse(text: str, name: str, has_lines: bool = True) -> Document:
    """Parses one YAML text; ``name`` stands for it in messages, with a line's number where it ``has_lines``.

    Raises:
        UserError: it is not YAML, no mapping, has a key twice, a key that is no text, or a tag that builds an object.
    """

    def place(mark: yaml.Mark) -> str:
        return f'{name}:{mark.line + 1}' if has_lines else name

    try:
        loader = PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Document({})
        if not isinstance(node, yaml.MappingNode):
            kind = 'sequence' if isinstance(node, yaml.SequenceNode) else 'scalar'
            raise UserError(f'{name}: an option file is a mapping of keys to values; this is a {kind}.')
        check_size(node)
        places = dict(_places(node, (), place))
        return Document(loader.construct_document(node), places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(_explain(error, place(mark) if mark else name)) from error
    except (yaml.YAMLError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise UserError(f'{name}: not readable as YAML: {reason}.') from error


def _places(node: yaml.Node, keys: Keys, place: Callable[[yaml.Mark], str]) -> Iterator[tuple[Keys, str]]:
    """Every key below ``node`` with its ``file:line``."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*keys, str(number)), place(item.start_mark)
            yield from _places(item, (*keys, str(number)), place)
    elif isinstance(node, yaml.MappingNode):
        # What is merged comes first: a mapping's own keys go before it, wherever they stand.
        for _, value in filter(lambda pair: is_merge(pair[0]), node.value):
            for part in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _places(part, keys, place)
        seen: dict[str, int] = {}
        for key, value in node.value:
            line, where = key.start_mark.line + 1, place(key.start_mark)
            if not is_merge(key) and not is_text(key):
                said = shown(key.value) if isinstance(key, yaml.ScalarNode) else 'of several values'
                raise UserError(f'{where}: the key {said} is not a text to YAML: put it in quotes.')
            if key.value in seen:
                several = ': merge several by one, <<: [*a, *b]' if is_merge(key) else ''
                raise UserError(
                    f'{where}: key {shown(key.value)} occurs twice, first in line {seen[key.value]}{several}.'
                )
            seen[key.value] = line
            if not is_merge(key):
                yield (*keys, key.value), where
                yield from _places(value, (*keys, key.value), place)


def _explain(error: yaml.MarkedYAMLError, place: str) -> str:
    if isinstance(error, yaml.constructor.ConstructorError) and 'tag' in str(error.problem):
        tag = tag_name(str(error.problem).partition("'")[2].rpartition("'")[0])
        return f"{place}: the tag '{tag}' is not read: option files hold plain data only. Write the value itself."
    return f'{place}: not readable as YAML: {error.problem or error.context}.'


def parse_value(text: str, name: str) -> object:
    """The value of ``--set key=value``, by the same rules as in a file; ``name`` stands for it in messages.

    Raises:
        UserError: it is not YAML.
    """
    # the line break keeps several lines and a leading '#' what they are
    return parse(f'value: {text}\n', name, has_lines=False).values.get('value')


def read(file: Path) -> Document:
    """Reads an option file and the files its ``_base_`` names (a path or a list, relative to it; later ones win).

    Raises:
        UserError: a file is missing or wrong, or inherits from itself.
    """
    return _read(file, (), {})


def _read(file: Path, above: tuple[Path, ...], known: dict[Path, Document]) -> Document:
    """A file with all it inherits; ``known`` has those that were read before, for several may inherit one."""
    resolved = file.resolve()
    if resolved in above:
        chain = ' -> '.join(path.name for path in (*above[above.index(resolved) :], resolved))
        raise UserError(f"{file}: '_base_' goes in a circle: {chain}.")
    if len(above) >= _LONGEST_CHAIN:
        raise UserError(f'{file}: it is inherited over more than {_LONGEST_CHAIN} files: merge some of them.')
    if resolved in known:
        return known[resolved]
    own = parse(_text_of(file), str(file))
    own.values, own.places = renamed(own.values, own.places, str(file), warn=True)
    bases = own.values.pop(BASE, None)
    line = own.places.pop((BASE,), str(file))
    result = Document({})
    for base in [] if bases is None else bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or not (file.parent / base).is_file():
            raise UserError(f"{line}: key '_base_' names no file: {shown(base)} (looked for beside {file}).")
        result = merge(result, _read(file.parent / base, (*above, resolved), known))
    known[resolved] = merge(result, own)
    return known[resolved]


def _text_of(file: Path) -> str:
    """What an option file holds.

    Raises:
        UserError: it cannot be read, is no regular file (reading a pipe or a device might never end), or is too long.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = 'a folder' if stat.S_ISDIR(status.st_mode) else 'a pipe or a device'
            raise UserError(f'The option file {file} is {kind}: name a regular file.')
        if status.st_size > _LONGEST_FILE:
            raise UserError(
                f'The option file {file} has {status.st_size} bytes: no more than {_LONGEST_FILE} are read.'
            )
        return file.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'
        raise UserError(f'The option file {file} cannot be read: {reason}.') from error


def merge(base: Document, over: Document) -> Document:
    """``over`` laid over ``base`` by mmengine's rules: mappings merge, all else replaces.

    ``_delete_: true`` in a mapping drops what it would inherit. A mapping over something that is none replaces it.
    A ``_delete_`` that met nothing stays, for what the result is laid over; :func:`without_marks` takes it out.
    """
    config = _merger()({'opt': base.values})  # wrapped: mmengine splits top-level keys at dots and reserves some
    config.merge_from_dict({'opt': _mark(over.values, base.values)}, allow_list_keys=False)
    return Document(config.to_dict()['opt'], {**base.places, **over.places})


def _merger() -> type[Config]:
    """mmengine's merging of mappings.

    yapf, which it imports to format Python, keeps its grammar in a file of the user's cache. After an installation
    every process writes it anew, and one that reads meanwhile finds it cut short: it is not imported for merging.
    """
    with later({'yapf': (), 'yapf.yapflib': (), 'yapf.yapflib.yapf_api': ('FormatCode',)}):
        merger: type[Config] = importlib.import_module('mmengine.config').Config
    return merger


def _mark(over: object, base: object) -> object:
    """A copy of ``over`` in which a mapping that meets something else in ``base`` says that it replaces it."""
    if not isinstance(over, dict):
        return over
    copy: Options = {}
    for key, value in over.items():
        below = base.get(key) if isinstance(base, dict) else None
        copy[key] = _mark(value, below)
        if isinstance(value, dict) and isinstance(base, dict) and key in base and not isinstance(below, dict):
            copy[key][DELETE] = True
    return copy


def without_marks(value: Any) -> Any:
    """A copy of plain values without any ``_delete_``."""
    if isinstance(value, dict):
        return {key: without_marks(item) for key, item in value.items() if key != DELETE}
    return [without_marks(item) for item in value] if isinstance(value, list) else value
