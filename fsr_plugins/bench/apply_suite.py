"""A suite's data, degradation, scale, seed and device, applied to an entry's option file."""

from __future__ import annotations

import copy
from collections.abc import Collection

from fsr_plugins.bench.options import Curves, SuiteOptions, TrainStore
from fsr_plugins.config.hosted import names_hosted
from fsr_plugins.config.oneshot import ONESHOT
from fsr_plugins.config.options import Block
from fsr_plugins.config.references import PREFIX
from fsr_plugins.config.yamlfile import DELETE, Document
from fsr_plugins.registry import load_plugins

#: The keys of a set's block by which it chooses among its images.
CHOICE = ('keys', 'exclude_keys', 'max_images', 'subset_seed')
#: The name of the validation set by which training is monitored.
MONITORED = 'val_bench'
#: What is measured while training: how, the test set's block, and of which stages.
Monitoring = tuple[Curves, Block, Collection[str]]


def apply_suite(
    written: Document, name: str, suite: SuiteOptions, train: TrainStore | None, monitoring: Monitoring | None
) -> Document:
    """An entry's option file as it takes part in the suite.

    Training sets: wherever a stage names HR that no stage makes, the suite's store stands instead; what a stage makes
    of it stays. Other sets and what validation measures are left out, but for ``monitoring``. The degradation is the
    suite's wherever there is one; a hosted model has none, its LR is its own.

    Args:
        name: of the entry; its experiment is called so.
    """
    values = copy.deepcopy(written.values)
    values.pop(ONESHOT, None)
    values |= {
        'name': name,
        'scale': suite.scale,
        'num_gpu': suite.num_gpu,
        'manual_seed': suite.manual_seed,
        'plugins': [*(values.get('plugins') or []), *suite.plugins],
    }
    load_plugins(dict.fromkeys(values['plugins'], f"entry '{name}'"))
    values['degradation'] = None if names_hosted(values) else {DELETE: True, **suite.degradation}
    store = {} if train is None else train.model_dump(exclude_none=True)
    sets = values.get('datasets')
    train_set = (sets.get('train') if isinstance(sets, dict) else None) or {}
    values['datasets'] = {'train': {**{key: value for key, value in train_set.items() if key not in CHOICE}, **store}}
    values['val'] = None
    for stage, part in (values.get('stages') or {}).items():
        if isinstance(part, dict):
            if isinstance(part.get('degradation'), dict):
                part['degradation'] = {DELETE: True, **suite.degradation}
            if isinstance(part.get('datasets'), dict):
                kept = {phase: block for phase, block in part['datasets'].items() if phase in ('train', DELETE)}
                if isinstance(kept.get('train'), dict):
                    kept['train'] = _train_set(kept['train'], store)
                part['datasets'] = kept
            part['val'] = None
            if monitoring is not None and stage in monitoring[2]:
                _monitor(part, monitoring)
    if 'stages' not in values and monitoring is not None and monitoring[2]:
        _monitor(values, monitoring)
    return Document(values, written.places)


def _train_set(block: Block, store: Block) -> Block:
    """A stage's training set on the suite's store; one that holds what a stage makes keeps that."""
    made = {key: value for key, value in block.items() if key not in CHOICE}
    root = block.get('dataroot_gt')
    if root is None:
        return made
    roots = root if isinstance(root, list) else [root]
    own = [part for part in roots if str(part).startswith(PREFIX)]
    if not own:
        return {**made, **store}
    # The choice among the store's images does not fit what a stage made of them.
    inherited: Block = {key: None for key in CHOICE if key in store}
    given = store.get('dataroot_gt', [])
    given = given if isinstance(given, list) else [given]
    theirs = given if len(own) < len(roots) else []
    joint = [*theirs, *own]
    return {**made, **inherited, 'dataroot_gt': joint if isinstance(root, list) else joint[0]}


def _monitor(part: Block, monitoring: Monitoring) -> None:
    curves, test, _ = monitoring
    faces = test if curves.set is None else {'type': 'FaceDataset', **curves.set}
    part.setdefault('datasets', {})[MONITORED] = {DELETE: True, **faces, 'name': MONITORED, 'max_images': curves.number}
    part['val'] = {DELETE: True, 'val_freq': curves.val_freq, 'metrics': curves.metrics}
