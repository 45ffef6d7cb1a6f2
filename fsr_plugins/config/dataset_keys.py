"""Which keys a dataset's block may have."""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel
from torch.utils.data import Dataset

from fsr_plugins.config.blocks import find_type
from fsr_plugins.config.problems import Problems
from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.data.options import DatasetOptions
from fsr_plugins.registry import DATASET_REGISTRY
from fsr_plugins.values import Options


def check_dataset(block: object, keys: Keys, problems: Problems, engine: Options) -> None:
    """Checks the block of one dataset: the loader's keys, and the dataset's own.

    These come from its class attribute ``Options`` (a pydantic model) or, for a class without one, from its source: the
    keys that it reads from ``opt``.

    Args:
        engine: what the engine sets in every block (phase, scale), for checks that need it.
    """
    cls = find_type(block, keys, problems, 'datasets')
    if not isinstance(cls, type) or not isinstance(block, dict):
        return
    options: type[BaseModel] | None = getattr(cls, 'Options', None)
    own = set(options.model_fields) if options is not None else keys_read(cls)
    if options is not None and issubclass(options, DatasetOptions):
        problems.validate(options, {**block, **engine}, keys, set(), cls.__name__)
        return
    loader = {key: value for key, value in block.items() if key in DatasetOptions.model_fields}
    problems.validate(DatasetOptions, loader, keys, set(), cls.__name__)
    rest = {key: value for key, value in block.items() if key in own or key not in loader}
    if options is not None:
        set_by_engine = {key: value for key, value in engine.items() if key in own}
        problems.validate(options, {**rest, **set_by_engine}, keys, set(), cls.__name__)
        return
    for key in rest:
        if key not in own:
            problems.unknown((*keys, key), own | set(DatasetOptions.model_fields), cls.__name__)


def keys_read(cls: type) -> set[str]:
    """The constant keys that a dataset class and those above it read from ``opt`` or ``self.opt``."""
    found: set[str] = set()
    for parent in cls.__mro__:
        if parent in (object, Dataset) or parent.__module__ == 'typing':
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(parent)))
        found.update(key for node in ast.walk(tree) for key in _keys_of(node))
    return found


def _keys_of(node: ast.AST) -> list[str]:
    """The key of ``opt['key']``, ``opt.get('key')`` or ``'key' in opt``."""
    if isinstance(node, ast.Subscript) and _is_opt(node.value):
        return _constant(node.slice)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ('get', 'pop', 'setdefault')
        and _is_opt(node.func.value)
    ):
        return _constant(node.args[0]) if node.args else []
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn) and _is_opt(node.comparators[0]):
        return _constant(node.left)
    return []


def _is_opt(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == 'opt') or (isinstance(node, ast.Attribute) and node.attr == 'opt')


def _constant(node: ast.AST) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def option_names(name: object) -> set[str]:
    """The option names of the dataset registered as ``name``; none if nothing is."""
    cls = DATASET_REGISTRY.get(name) if isinstance(name, str) and name in DATASET_REGISTRY else None
    options: type[BaseModel] | None = getattr(cls, 'Options', None)
    return set(options.model_fields) if options is not None else keys_read(cls) if isinstance(cls, type) else set()
