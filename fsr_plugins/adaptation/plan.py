"""What ``fsr oneshot`` repeats: the splits of the target set, their exemplars, and a stage for each of them."""

from __future__ import annotations

import copy
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.oneshot import ONESHOT, OneShotOptions
from fsr_plugins.config.problems import Problems, fail
from fsr_plugins.config.schema import check_stage
from fsr_plugins.config.settings import StageSettings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.key_choice import choose_by_key
from fsr_plugins.data.seeding import mix, permutation
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.errors import UserError
from fsr_plugins.registry import near
from fsr_plugins.values import Record

#: The keys of a set's block by which it chooses among its images.
_CHOICE = ('keys', 'exclude_keys', 'max_images', 'subset_seed')
#: Those by which it says where its images are.
_PLACE = ('dataroot_gt', 'dataroot_lq', 'filename_tmpl')


@dataclass(frozen=True)
class Split:
    """A part of the target set."""

    name: str
    patterns: list[str]
    keys: list[str]  #: its images, ascending
    exemplars: list[str]  #: some of them, as drawn


@dataclass(frozen=True)
class Repeat:
    """A stage with one exemplar to train with and the rest of a split to validate on."""

    base: str  #: the stage's name in the option file
    split: str
    number: int  #: of the exemplar in its split, from 0
    exemplar: str
    stage: Stage


@dataclass(frozen=True)
class Plan:
    """Everything that is to be done, in order; equal for equal options and data."""

    options: OneShotOptions
    target: str  #: the name of the target set
    splits: list[Split]
    repeats: list[Repeat]


def plan(experiment: Experiment) -> Plan:
    """Draws the exemplars and makes the stages; nothing is written.

    Raises:
        UserError: the block ``oneshot`` and the option file or the data do not fit.
    """
    options = experiment.oneshot
    stages = [_stage(experiment, name) for name in options.stages]
    phase = _target(stages, options, experiment.file)
    block = stages[0].options.sets[phase].block
    dataset = make_dataset(stages[0].options.sets[phase], 'val', stages[0].options)
    if not isinstance(dataset, ImageDataset) or not dataset.has_gt:
        raise UserError(
            f'{stages[0].where(("datasets", phase))}: the target set must have HR faces: take a FaceDataset.'
        )
    splits = [_split(dataset, name, patterns, options) for name, patterns in options.splits.items()]
    chosen = any(block.get(key) is not None for key in _CHOICE)
    folder = experiment.folder / ONESHOT
    repeats = [
        _repeat(stage, phase, split, number, split.keys if chosen else split.patterns, folder)
        for stage in stages
        for split in splits
        for number in range(len(split.exemplars))
    ]
    # Whether what repeats change is known to the stages' datasets; it is the same for all of a stage.
    lines: dict[str, None] = {}
    for stage in {repeat.base: repeat.stage for repeat in reversed(repeats)}.values():
        check_stage(stage.name, stage.opt, Problems(stage.where, lines))
    fail(lines)
    return Plan(options, block['name'], splits, repeats)


def _stage(experiment: Experiment, name: str) -> Stage:
    stage = experiment.stages.get(name)
    if stage is None:
        there = ', '.join(experiment.stages)
        raise UserError(
            f"{experiment.file} has no stage '{name}' to repeat (there are: {there}): name one in 'oneshot.stages'."
            f'{near(name, experiment.stages)}'
        )
    if stage.generates_set:
        raise UserError(f"{stage.where(('model_type',))}: stage '{name}' trains nothing and cannot be repeated.")
    if not stage.options.metrics:
        raise UserError(f"{stage.where(('val',))}: stage '{name}' has no 'val.metrics' to compare by.")
    return stage


def _target(stages: list[Stage], options: OneShotOptions, file: Path) -> str:
    """The key under ``datasets`` of the target set."""
    first = stages[0]
    sets = [data.phase for data in first.options.validation_sets]
    if not sets:
        raise UserError(f"{first.where(('datasets',))}: stage '{first.name}' has no 'val_…' set to take as the target.")
    phase = options.set or sets[0]
    for stage in stages:
        if phase not in stage.options.sets or phase == 'train':
            there = ', '.join(sets)
            raise UserError(
                f"{file}: 'oneshot.set' is '{phase}', which stage '{stage.name}' has no set of (there are: {there})."
                f'{near(phase, sets)}'
            )
        _check_alike(first, stage, phase)
    return phase


def _check_alike(first: Stage, stage: Stage, phase: str) -> None:
    """Two stages are compared: on the same faces, of the same LR, by the same metrics."""
    one, other = first.options, stage.options
    shared = one.metrics.keys() & other.metrics.keys()  # a column of the table each
    compared: dict[tuple[str, ...], tuple[object, object]] = {
        ('datasets', phase): (one.sets[phase], other.sets[phase]),
        ('scale',): (one.scale, other.scale),
        ('degradation',): (one.degradation, other.degradation),
        **{('val', 'metrics', name): (one.metrics[name], other.metrics[name]) for name in sorted(shared)},
    }
    if 'seed' not in one.sets[phase].block:  # its faces are degraded by the stage's
        compared['manual_seed',] = one.manual_seed, other.manual_seed
    for keys, (mine, theirs) in compared.items():
        if mine != theirs:
            hint = f", or give 'datasets.{phase}' a 'seed'" if keys == ('manual_seed',) else ''
            raise UserError(
                f"{stage.where(keys)}: stages '{first.name}' and '{stage.name}' are compared, but '{'.'.join(keys)}' "
                f'differs: make it equal{hint}.'
            )


def _split(dataset: ImageDataset, name: str, patterns: list[str], options: OneShotOptions) -> Split:
    store, used = dataset.store, set(dataset.lists()[dataset.role])
    try:
        named = [store.keys[place] for place in choose_by_key(store, patterns, None, dataset.name).tolist()]
    except UserError as error:
        raise UserError(f"The split '{name}' of 'oneshot': {error}") from error
    keys = [key for key in named if key in used]
    if len(keys) < 2:
        raise UserError(
            f"The split '{name}' of 'oneshot' has {len(keys)} images of the set '{dataset.name}': it takes at least "
            'two, an exemplar and a face to test with.'
        )
    order = permutation(mix(options.seed, zlib.crc32(name.encode())), 0, len(keys))
    return Split(name, patterns, keys, [keys[place] for place in order[: options.exemplars].tolist()])


def _repeat(stage: Stage, phase: str, split: Split, number: int, keys: list[str], folder: Path) -> Repeat:
    """The stage with an exemplar in the place of its training set and the rest of the split as its only other set.

    Only its end is validated and saved: there are many repeats, and each is short.
    """
    opt, exemplar = copy.deepcopy(stage.opt), split.exemplars[number]
    name = f'{stage.name}_{number}'
    total = stage.train.total_iter
    records = {'print_freq': total, 'save_checkpoint_freq': total, 'keep_states': 1, 'use_tb_logger': False}
    opt |= {
        'name': f'{stage.options.name}_{split.name}_{number}',
        'datasets': _datasets(stage.options, phase, keys, exemplar),
        'manual_seed': stage.options.manual_seed + number,
        'val': {**opt['val'], 'val_freq': total, 'save_img': False},
        'logger': {**opt['logger'], **records, 'wandb': None},
    }
    made = replace(stage, name=f'{split.name}/{name}', opt=opt, folder=folder / split.name / name)
    return Repeat(stage.name, split.name, number, exemplar, made)


def _datasets(options: StageSettings, phase: str, keys: list[str], exemplar: str) -> Record:
    target, train = (copy.deepcopy(options.sets[name].block) for name in (phase, 'train'))
    for key in (*_CHOICE, *_PLACE):
        train.pop(key, None)
    train |= {key: target[key] for key in _PLACE if key in target} | {'keys': [exemplar]}
    for key in _CHOICE:
        target.pop(key, None)
    # Without it the seed of the repeat would change how the faces to test with are degraded.
    target.setdefault('seed', options.manual_seed)
    # And by their places the exemplar that is left out would change it for all behind it.
    target.setdefault('draw_by', 'key')
    return {'train': train, phase: {**target, 'keys': keys, 'exclude_keys': [exemplar]}}
