"""Every field of the options is read by somebody, or said to have no effect: what nothing reads does not exist."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_suite
from pydantic import BaseModel

import fsr_plugins
from fsr_plugins.cli import main
from fsr_plugins.config.losses import loss_fields
from fsr_plugins.config.no_effect import SET_KEYS, VAL_KEYS
from fsr_plugins.config.oneshot import OneShotOptions
from fsr_plugins.config.options import StrictOptions, TrainOptions
from fsr_plugins.config.schema import LoggerOptions, StageOptions, ValOptions, WandbOptions
from fsr_plugins.data.options import DatasetOptions, FaceDatasetOptions
from fsr_plugins.registry import MODEL_REGISTRY, load_plugins

#: By class, what one process need not read: it has no effect, which is said; it is read as plain YAML before there are
#: types; it is for several processes.
ASIDE: dict[type[BaseModel], set[str]] = {
    StageOptions: {'plugins', 'find_unused_parameters'},
    ValOptions: set(VAL_KEYS),
    LoggerOptions: set(),
    TrainOptions: set(),
    DatasetOptions: set(SET_KEYS),
    FaceDatasetOptions: set(SET_KEYS),
}
#: Modules of declarations, whose validators see every field.
DECLARED = ('fsr_plugins.config.options', 'fsr_plugins.config.schema', 'fsr_plugins.data.options')


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[type, str]]]:
    """The fields that are read while a test runs: the class that declares each, and its name."""
    found: set[tuple[type, str]] = set()

    def read(self: Any, name: str) -> Any:
        if not name.startswith('_'):
            code = sys._getframe(1)
            validator = code.f_globals.get('__name__') in DECLARED and code.f_code.co_name.startswith('_')
            if not validator:
                found.update((cls, name) for cls in type(self).__mro__ if name in vars(cls).get('__annotations__', ()))
        return object.__getattribute__(self, name)

    for cls in (StrictOptions, DatasetOptions):
        monkeypatch.setattr(cls, '__getattribute__', read, raising=False)
    yield found


def run(*arguments: str) -> None:
    assert main(list(arguments)) == 0, arguments


@pytest.mark.slow
def test_every_field_of_a_stage_is_read(experiment_file: Path, reads: set[tuple[type, str]]) -> None:
    for command in ('doctor', 'train', 'test'):
        run(command, '-opt', str(experiment_file))
    tiny.write_faces(Path('data/lr'), 10, 8)
    paired = ['name=paired', 'datasets.train.dataroot_lq=data/lr', 'datasets.train.views=[canny]']
    run('train', '-opt', str(experiment_file), *(word for override in paired for word in ('--set', override)))
    tiny_suite.fill(Path())
    run('bench', '-opt', 'suite.yml')
    unread = [
        f'{cls.__name__}.{name}'
        for cls, aside in ASIDE.items()
        for name in cls.model_fields
        if name not in aside and not any(name == field and issubclass(cls, owner) for owner, field in reads)
    ]
    assert not unread


def test_what_is_said_to_have_no_effect_is_read_by_nobody(experiment_file: Path, reads: set[tuple[type, str]]) -> None:
    for command in ('doctor', 'train', 'test'):
        run(command, '-opt', str(experiment_file))
    assert not {name for owner, name in reads if owner is DatasetOptions and name in SET_KEYS}
    assert not {name for owner, name in reads if owner is ValOptions and name in VAL_KEYS}


def test_a_field_that_nobody_reads_is_found(experiment_file: Path, reads: set[tuple[type, str]]) -> None:
    run('train', '-opt', str(experiment_file))
    assert (LoggerOptions, 'print_freq') in reads
    assert (LoggerOptions, 'nobody') not in reads and (WandbOptions, 'resume_id') not in reads


def test_every_field_of_a_method_is_read_somewhere() -> None:
    """Of what a run of a few iterations does not come to: the attributes that the code reads, wherever it does."""
    attributes = {
        node.attr
        for file in Path(fsr_plugins.__file__).parent.rglob('*.py')
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    load_plugins()
    trains = {model.Train for _, model in MODEL_REGISTRY if hasattr(model, 'Train')}
    fields = {(train.__qualname__, key) for train in trains for key in train.model_fields.keys() - loss_fields(train)}
    fields.add(('StageOptions', 'find_unused_parameters'))
    fields |= {(cls.__name__, key) for cls in (WandbOptions, OneShotOptions) for key in cls.model_fields}
    assert len(fields) > 20
    assert not [f'{owner}.{key}' for owner, key in sorted(fields) if key not in attributes]
