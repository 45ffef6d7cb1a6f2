"""Reading option files: plain YAML only, every key's place kept, ``_base_`` inheritance merged by mmengine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from fsr_plugins.config.renames import renamed
from fsr_plugins.errors import UserError
from fsr_plugins.values import Options

#: A key's way from the top of a document; list items by their number.
Keys = tuple[str, ...]
#: Where a key was written: ``file:line``, or the ``--set`` that gave it.
Places = dict[Keys, str]

BASE = '_base_'
DELETE = '_delete_'


@dataclass
class Document:
    """The values of an option file, and where each key stands."""

    values: Options
    places: Places = field(default_factory=dict)


class PlainLoader(yaml.SafeLoader):
    """YAML without tags that build objects; ``1e-4`` is a number and ``2024-01-01`` a text, as people mean them."""

    yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != 'tag:yaml.org,2002:timestamp']
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


PlainLoader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'), list('-+.0123456789')
)


def parse(text: str, name: str) -> Document:
    """Parses one YAML text; ``name`` stands for it in messages.

    Raises:
        UserError: it is not YAML, no mapping, has a key twice, a key that is no text, or a tag that builds an object.
    """
    try:
        loader = PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Document({})
        if not isinstance(node, yaml.MappingNode):
            kind = 'sequence' if isinstance(node, yaml.SequenceNode) else 'scalar'
            raise UserError(f'{name}: an option file is a mapping of keys to values; this is a {kind}.')
        places = dict(_places(node, (), name, ()))
        return Document(loader.construct_document(node), places)
    except yaml.MarkedYAMLError as error:
        raise UserError(_explain(error, name)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f'{name}: not readable as YAML: {error}.') from error


def _places(node: yaml.Node, keys: Keys, name: str, above: tuple[yaml.Node, ...]) -> Iterator[tuple[Keys, str]]:
    """Every key below ``node`` with its ``file:line``."""
    if any(node is other for other in above):
        raise UserError(f'{name}:{node.start_mark.line + 1}: an alias that contains itself.')
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*keys, str(number)), f'{name}:{item.start_mark.line + 1}'
            yield from _places(item, (*keys, str(number)), name, above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == 'tag:yaml.org,2002:merge':
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    yield from _places(part, keys, name, above)
                continue
            if key.tag != 'tag:yaml.org,2002:str':
                raise UserError(f"{name}:{line}: the key '{key.value}' is not a text to YAML: put it in quotes.")
            if key.value in seen:
                raise UserError(f"{name}:{line}: key '{key.value}' stands twice, first in line {seen[key.value]}.")
            seen[key.value] = line
            yield (*keys, key.value), f'{name}:{line}'
            yield from _places(value, (*keys, key.value), name, above)


def _explain(error: yaml.MarkedYAMLError, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f'{name}:{mark.line + 1}' if mark else name
    if isinstance(error, yaml.constructor.ConstructorError) and 'tag' in str(error.problem):
        tag = str(error.problem).partition("'")[2].rpartition("'")[0].replace('tag:yaml.org,2002:', '!!')
        return f"{place}: the tag '{tag}' is not read: option files hold plain data only. Write the value itself."
    return f'{place}: not readable as YAML: {error.problem or error.context}.'


def parse_value(text: str) -> object:
    """The value of ``--set key=value``, by the same rules as in a file.

    Raises:
        UserError: it is not YAML.
    """
    # the line break keeps several lines and a leading '#' what they are
    return parse(f'value: {text}\n', f"'{text}'").values.get('value')


def read(file: Path, above: tuple[Path, ...] = ()) -> Document:
    """Reads an option file and the files its ``_base_`` names (a path or a list, relative to it; later ones win).

    Raises:
        UserError: a file is missing or wrong, or inherits from itself.
    """
    resolved = file.resolve()
    if resolved in above:
        chain = ' -> '.join(path.name for path in (*above[above.index(resolved) :], resolved))
        raise UserError(f"{file}: '_base_' goes in a circle: {chain}.")
    try:
        text = file.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'
        raise UserError(f'The option file {file} cannot be read: {reason}.') from error
    own = parse(text, str(file))
    own.values, own.places = renamed(own.values, own.places, str(file), warn=True)
    bases = own.values.pop(BASE, [])
    line = own.places.pop((BASE,), str(file))
    result = Document({})
    for base in [bases] if isinstance(bases, str) else bases or []:
        if not isinstance(base, str) or not (file.parent / base).is_file():
            raise UserError(f"{line}: key '_base_' names no file: '{base}' (looked for beside {file}).")
        result = merge(result, read(file.parent / base, (*above, resolved)))
    return merge(result, own)


def merge(base: Document, over: Document) -> Document:
    """``over`` laid over ``base`` by mmengine's rules: mappings merge, all else replaces.

    ``_delete_: true`` in a mapping drops what it would inherit. A mapping over something that is none replaces it.
    A ``_delete_`` that met nothing stays, for what the result is laid over; :func:`without_marks` takes it out.
    """
    config = Config({'opt': base.values})  # wrapped: mmengine splits top-level keys at dots and reserves some
    config.merge_from_dict({'opt': _mark(over.values, base.values)}, allow_list_keys=False)
    return Document(config.to_dict()['opt'], {**base.places, **over.places})


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
