"""YAML of plain values, and of no more of them than anybody writes: what a file can make a reader do has bounds."""

from __future__ import annotations

import math
import re

import yaml

from fsr_plugins.errors import shown

#: The most values, aliases and merges written out, and the most levels, of one file.
LARGEST, DEEPEST = 20_000, 64
_TAG = 'tag:yaml.org,2002:'
_MERGE = f'{_TAG}merge'
#: Whole numbers beyond are of no use to any library.
_LEAST, _MOST = -(2**63), 2**63 - 1


class PlainLoader(yaml.SafeLoader):
    """YAML without tags that build objects; ``1e-4`` is a number and ``2024-01-01`` a text, as people mean them."""

    yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] not in (f'{_TAG}timestamp', f'{_TAG}value')]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (None, *(_TAG + kind for kind in ('null', 'bool', 'int', 'float', 'str', 'seq', 'map')))
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's.

        Raises:
            ComposerError: more values or levels than there may be.
        """
        self._values += 1
        self._depth += 1
        mark = self.peek_event().start_mark
        if self._values > LARGEST:
            raise _refused(f'it has more than {LARGEST} values', mark)
        if self._depth > DEEPEST:
            raise _refused(f'it is nested deeper than {DEEPEST} levels', mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """As PyYAML's, of 64 bits."""
        # Python itself refuses to read very long ones.
        number = int(super().construct_yaml_int(node)) if len(node.value) < 100 else math.inf
        if not _LEAST <= number <= _MOST:
            raise _refused(f'{shown(node.value)} is a number beyond 64 bits', node.start_mark)
        return int(number)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """As PyYAML's, finite."""
        try:
            number = float(super().construct_yaml_float(node))
        except OverflowError:  # of a number to the base of 60
            number = math.inf
        if not math.isfinite(number):
            raise _refused(
                f'{shown(node.value)} is not a finite number; options take finite numbers only', node.start_mark
            )
        return number

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        """As PyYAML's, of characters that a path and a file can hold."""
        text = super().construct_yaml_str(node)
        if re.search('[\0\ud800-\udfff]', text):
            raise _refused(
                f'the text {shown(text)} holds a character that is none (NUL or half a pair)', node.start_mark
            )
        return text


for _kind in ('int', 'float', 'str'):
    PlainLoader.add_constructor(_TAG + _kind, getattr(PlainLoader, f'construct_yaml_{_kind}'))
PlainLoader.add_implicit_resolver(
    f'{_TAG}float', re.compile(r'^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'), list('-+.0123456789')
)


def _refused(reason: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, reason, mark)


def check_size(node: yaml.Node) -> None:
    """Sees that a document does not grow beyond bounds when its aliases and merges are written out.

    Raises:
        ComposerError: it would, or an alias contains itself.
    """
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise _refused('an alias that contains itself', node.start_mark)
        if known:
            return known
        sizes[id(node)] = None
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        found = 1 + sum(size(each) for part in parts for each in (part if isinstance(part, tuple) else (part,)))
        if found > LARGEST:
            raise _refused(f'with its aliases written out it has more than {LARGEST} values', node.start_mark)
        sizes[id(node)] = found
        return found

    size(node)


def is_merge(key: yaml.Node) -> bool:
    """Whether a key is ``<<``."""
    return key.tag == _MERGE


def is_text(key: yaml.Node) -> bool:
    """Whether a key is a text."""
    return isinstance(key, yaml.ScalarNode) and key.tag == f'{_TAG}str'


def tag_name(tag: str) -> str:
    """A tag as it is written in a file."""
    return tag.replace(_TAG, '!!')
