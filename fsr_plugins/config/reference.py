"""All that option files may say, made of the types that they are checked by: a page, and a JSON schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from fsr_plugins.config.basicsr import METRICS
from fsr_plugins.config.blocks import parameters
from fsr_plugins.config.losses import Loss, loss_fields, needed_networks
from fsr_plugins.config.oneshot import OneShotOptions
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.config.schema import LoggerOptions, StageOptions, ValOptions, WandbOptions
from fsr_plugins.data.options import DatasetOptions, ImageDatasetOptions
from fsr_plugins.registry import REGISTRIES
from fsr_plugins.values import Record

_DIALECT = 'https://json-schema.org/draft/2020-12/schema'
#: What the engine sets in a set's block, and what it is called.
_SET_BY_ENGINE = {'phase', 'seed'}
#: Registries whose blocks the schema describes by their classes' signatures.
_BLOCKS = ('archs', 'losses', 'metrics', 'degradations')
#: Patterns of keys beside the declared ones.
_NETWORK, _OWN_OPTIMISERS = r'^network_\w+$', r'^(optim|scheduler)_\w+$'
#: Takes away what the files beneath say.
_DELETE = {'_delete_': {'type': 'boolean'}}
_PATH = {
    r'^pretrain_network_\w+$': {'type': ['string', 'null']},
    r'^strict_load_\w+$': {'type': ['boolean', 'null']},
    r'^param_key_\w+$': {'type': ['string', 'null']},
}
_INTRODUCTION = """# Options

`fsr options --reference` writes this page from the types that check option files. An editor takes the schema of
`fsr options --schema > fsr.schema.json`, named in the option file: `# yaml-language-server: $schema=fsr.schema.json`.
`fsr options -opt FILE` shows the merged values of a file, each with file and line.

An option file has the keys of a stage, and `stages`: a mapping of names to what differs there. `_base_` names files
that it inherits. `stage:<name>/net_<x>` is a network that an earlier stage has trained, `stage:<name>/<file>` a file
that it has made.
"""


def reference() -> str:
    """The page, as Markdown."""
    lines = [_INTRODUCTION]
    lines += _section('A stage', StageOptions)
    lines += [
        '`network_<x>` is the block of the network `net_<x>`: `type` and the arguments of a registered arch.\n',
        '## path\n',
        '| key | what it is |\n|---|---|',
        '| `pretrain_network_<x>` | a file of weights for `net_<x>`, or `stage:<name>/net_<y>` |',
        '| `param_key_<x>` | which weights of the file: `params` (default) or `params_ema` |',
        '| `strict_load_<x>` | false: load what fits, and name what does not |',
        '| `resume_state` | begin with this training state of another experiment |\n',
    ]
    lines += _section('train', TrainOptions)
    lines += ['`optim_<x>` and `scheduler_<x>` are those of `net_<x>` alone.\n']
    for name, model in _own('models'):
        own = _fields(model.Train, TrainOptions)
        if own:
            lines += [f'### {name}\n', *_table(own, loss_fields(model.Train)), '']
    lines += [*_section('val', ValOptions), *_section('logger', LoggerOptions), *_section('logger.wandb', WandbOptions)]
    lines += ['## datasets\n', 'Every set:\n', *_table(_fields(DatasetOptions), {}), '']
    lines += ['A set of numbered images:\n', *_table(_fields(ImageDatasetOptions, DatasetOptions), {}), '']
    for name, dataset in _own('datasets'):
        own = _fields(dataset.Options, ImageDatasetOptions)
        lines += [f'### {name}\n', *_table(own, {}), '']
        lines += _nested(own)
    lines += _section('oneshot', OneShotOptions)
    return '\n'.join(lines).rstrip() + '\n'


def _own(kind: str) -> Iterator[tuple[str, Any]]:
    """The toolkit's registered classes that say what they take."""
    for name, target in sorted(REGISTRIES[kind]):
        if target.__module__.startswith('fsr_plugins.') and hasattr(
            target, 'Options' if kind == 'datasets' else 'Train'
        ):
            yield name, target


def _section(title: str, model: type[BaseModel]) -> list[str]:
    return [f'## {title}\n', *_table(_fields(model), {}), '']


def _nested(fields: Mapping[str, FieldInfo]) -> list[str]:
    """The blocks that a set's keys are."""
    lines = []
    for key, field in fields.items():
        block = next((part for part in _parts(field.annotation) if _is_model(part)), None)
        if block is not None:
            lines += [f'`{key}`:\n', *_table(_fields(block), {}), '']
    return lines


def _fields(model: type[BaseModel], beyond: type[BaseModel] | None = None) -> dict[str, FieldInfo]:
    known = set(beyond.model_fields) if beyond is not None else set()
    return {key: field for key, field in model.model_fields.items() if key not in known | _SET_BY_ENGINE}


def _table(fields: Mapping[str, FieldInfo], losses: Mapping[str, FieldInfo]) -> list[str]:
    lines = ['| key | type | default | what it is |', '|---|---|---|---|']
    for key, field in fields.items():
        needs = needed_networks(field) if key in losses else []
        about = (field.description or '') + (f'; needs {", ".join(f"`{label}`" for label in needs)}' if needs else '')
        default = 'required' if field.is_required() else f'`{json.dumps(field.default, default=str)}`'
        lines.append(f'| `{key}` | {_said(field.annotation)} | {default} | {about} |'.replace('||', r'\|\|'))
    return lines


def _parts(annotation: object) -> tuple[object, ...]:
    return getattr(annotation, '__args__', ()) or (annotation,)


def _is_model(part: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _said(annotation: object) -> str:
    """A type in a word or two."""
    origin: object = getattr(annotation, '__origin__', None)
    parts: tuple[object, ...] = getattr(annotation, '__args__', ())
    if annotation is Loss:
        return 'loss'
    if annotation is type(None):
        return 'null'
    if _is_model(annotation) or annotation is dict or origin is dict:
        return 'mapping'
    if origin in (list, tuple):
        return f'list of {_said(parts[0])}'
    names: dict[object, str] = {
        bool: 'true or false',
        int: 'whole number',
        float: 'number',
        str: 'text',
        object: 'anything',
    }
    if annotation in names:
        return names[annotation]
    if hasattr(annotation, '__metadata__'):
        return _said(origin)
    if parts and all(isinstance(part, str | int) for part in parts):
        return ', '.join(f'`{part}`' for part in parts)
    if parts:
        return ' or '.join(dict.fromkeys(_said(part) for part in parts))
    return str(getattr(annotation, '__name__', annotation))


def json_schema() -> Record:
    """A JSON schema of option files, for what is registered, also by installed plugins."""
    models = [StageOptions, ValOptions, LoggerOptions, OneShotOptions, DatasetOptions]
    trains = {target.Train for _, target in REGISTRIES['models'] if hasattr(target, 'Train')}
    sets = {target.Options for _, target in REGISTRIES['datasets'] if hasattr(target, 'Options')}
    blocks = sorted({*models, *trains, *sets}, key=lambda model: model.__qualname__)
    found, definitions = models_json_schema([(model, 'validation') for model in blocks])
    own = {model: found[model, 'validation'] for model in blocks}
    defs: Record = {**definitions.get('$defs', {}), **{kind: _named(kind) for kind in _BLOCKS}}

    def properties(model: type[BaseModel]) -> Record:
        described = own[model]
        return dict(defs[described['$ref'].rpartition('/')[2]]['properties'])

    train = _merged(properties(model) for model in sorted(trains, key=lambda model: model.__qualname__))
    losses = {key for model in trains for key in loss_fields(model)}
    train |= {key: _ref('losses') for key in losses}
    dataset = _merged(properties(model) for model in [DatasetOptions, *sorted(sets, key=lambda m: m.__qualname__)])
    dataset |= {'type': {'enum': _names('datasets')}, **_DELETE}
    stage = properties(StageOptions) | {
        'model_type': {'enum': _names('models')},
        'degradation': _or_null(_ref('degradations')),
        'datasets': _mapping({'type': 'object', 'properties': dataset}),
        'path': _block({'resume_state': {'type': ['string', 'null']}}, _PATH, closed=True),
        'train': _block(train, {_OWN_OPTIMISERS: {}}),
        'val': _block({**properties(ValOptions), 'metrics': _mapping(_ref('metrics'))}),
        'logger': _block(properties(LoggerOptions)),
    }
    for _, model in REGISTRIES['models']:
        options = getattr(model, 'Options', None)
        stage |= dict.fromkeys(options.model_fields, {}) if options is not None else {}
    networks = {_NETWORK: _or_null(_ref('archs'))}
    each = {
        'type': ['object', 'null'],
        'properties': stage,
        'patternProperties': networks,
        'additionalProperties': False,
    }
    return {
        '$schema': _DIALECT,
        'title': 'An option file of FSR Plugins',
        'type': 'object',
        'properties': {
            **stage,
            '_base_': {'type': ['string', 'array'], 'description': 'files that this one inherits'},
            'stages': _mapping(each, 'what is different in each'),
            'oneshot': _block(properties(OneShotOptions)),
        },
        'patternProperties': networks,
        'additionalProperties': False,
        '$defs': defs,
    }


def _ref(kind: str) -> Record:
    return {'$ref': f'#/$defs/{kind}'}


def _merged(every: Iterator[Record]) -> Record:
    """The properties of several classes as those of one; where they differ, any will do."""
    merged: dict[str, list[Record]] = {}
    for properties in every:
        for key, described in properties.items():
            known = merged.setdefault(key, [])
            if described not in known:
                known.append(described)
    return {key: known[0] if len(known) == 1 else {'anyOf': known} for key, known in merged.items()}


def _names(kind: str) -> list[str]:
    return sorted(name for name, target in REGISTRIES[kind] if kind != 'metrics' or isinstance(target, type))


def _block(properties: Record, patterns: Record | None = None, closed: bool = False) -> Record:
    described = {'type': 'object', 'properties': properties | _DELETE, 'patternProperties': patterns or {}}
    return _or_null({**described, 'additionalProperties': not closed})


def _mapping(each: Record, description: str = '') -> Record:
    """Of names to blocks."""
    block = {'type': 'object', 'properties': _DELETE, 'additionalProperties': _or_null(each)}
    return _or_null(block) | ({'description': description} if description else {})


def _or_null(schema: Record) -> Record:
    """A key is taken away by null."""
    return {'anyOf': [schema, {'type': 'null'}]}


def _named(kind: str) -> Record:
    """A block with a ``type`` of a registry, and by that its arguments."""
    targets = {name: REGISTRIES[kind].get(name) for name in _names(kind)}
    cases = []
    for name, target in targets.items():
        named, open_ended = parameters(target)
        described: Record = {'properties': {'type': {}, **_DELETE, **dict.fromkeys(named, {})}}
        if not open_ended:
            described['additionalProperties'] = False
        cases.append({'if': {'properties': {'type': {'const': name}}, 'required': ['type']}, 'then': described})
    names = [*targets, *(METRICS if kind == 'metrics' else ())]
    return {'type': ['object', 'null'], 'properties': {'type': {'enum': names}}, 'allOf': cases}
