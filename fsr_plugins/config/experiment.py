"""From an option file to the stages of an experiment: inherited, overridden, merged, resolved and checked.

What a file may say is in :mod:`fsr_plugins.config.schema`; ``--set`` in :mod:`fsr_plugins.config.overrides`; references
between stages in :mod:`fsr_plugins.config.references`.
"""

from __future__ import annotations

import copy
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from fsr_plugins.config import overrides as command_line
from fsr_plugins.config.basicsr import translate
from fsr_plugins.config.bundled import located
from fsr_plugins.config.dataset_keys import option_names
from fsr_plugins.config.fingerprint import differences, fingerprint
from fsr_plugins.config.no_effect import without_effect
from fsr_plugins.config.oneshot import ONESHOT, OneShotOptions, check_oneshot
from fsr_plugins.config.problems import Problems, fail
from fsr_plugins.config.references import order, resolve
from fsr_plugins.config.renames import with_its_own_names
from fsr_plugins.config.schema import LoggerOptions, ValOptions, check_stage
from fsr_plugins.config.stage import Stage, place_of, where
from fsr_plugins.config.yamlfile import Document, merge, read, without_marks
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import load_plugins
from fsr_plugins.values import NAME, Block, Options

__all__ = ['Experiment', 'Stage', 'compose', 'differences', 'dump', 'fingerprint', 'load', 'runtime']

logger = logging.getLogger(__name__)

#: The stage of an option file without ``stages``.
ONLY_STAGE = 'train'
#: That of a file whose networks are only measured.
TEST_STAGE = 'test'
#: The folder of all experiments.
EXPERIMENTS = 'experiments'
#: Whole numbers that BasicSR's files write as 5e3.
_WHOLE = {
    'train': ('total_iter', 'warmup_iter'),
    'val': ('val_freq',),
    'logger': ('print_freq', 'save_checkpoint_freq'),
}


@dataclass(frozen=True)
class Experiment:
    """What an option file describes. ``stages`` are in an order in which each follows those it needs."""

    name: str
    file: Path
    root: Path
    stages: dict[str, Stage]
    oneshot: OneShotOptions  #: the block of that name; its defaults without one
    within: str = ''  #: the folder in ``experiments/`` that it shares with others
    without_effect: tuple[str, ...] = ()  #: a sentence for each key that has none here
    trains: bool = True  #: whether there is anything to train; else networks with weights are measured

    @property
    def folder(self) -> Path:
        """Where everything of the experiment is written."""
        return self.root / EXPERIMENTS / self.within / self.name


def load(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    root: Path | None = None,
    debug: bool = False,
    tests: bool = False,
) -> Experiment:
    """Reads, merges, resolves and checks an option file. Nothing is written.

    Args:
        file: the option file.
        overrides: ``a.b=c`` each, as given to ``--set``.
        root: the folder of ``experiments/``; the working directory if None.
        debug: BasicSR's ``--debug``: ``debug_`` before the name; prints every iteration, saves and validates every 8.
        tests: also take a file that trains nothing, as BasicSR's for testing do.
    Raises:
        UserError: whatever is wrong with the file, all at once, a line each with file, line and key.
    """
    file = located(file)
    document = command_line.apply(read(file), overrides)
    experiment = compose(document, file, root=root, debug=debug, tests=tests)
    for line in experiment.without_effect:
        logger.warning('%s: %s', file, line)
    return experiment


def compose(
    document: Document,
    file: Path,
    *,
    root: Path | None = None,
    debug: bool = False,
    within: str = '',
    tests: bool = False,
) -> Experiment:
    """:func:`load` for what has been read already.

    Args:
        document: what an option file says, overrides included.
        file: what messages name where a key was not written anywhere.
        within: a folder in ``experiments/`` for several experiments that belong together.
        tests: see :func:`load`.
    """
    if 'entries' in document.values and not {'model_type', 'datasets', 'stages'} & set(document.values):
        raise UserError(f'{file} is a suite, which compares experiments, and no experiment: `fsr bench -opt {file}`.')
    root = Path.cwd() if root is None else Path(root)
    name = _name(document, file, debug)
    trains = not tests or _trains(document.values)
    parts = _parts(document, file, ONLY_STAGE if trains else TEST_STAGE)
    load_plugins(_plugins(parts, file), methods=False)
    lines: dict[str, None] = {}
    folder = root / EXPERIMENTS / within / name
    completed = {stage: _complete(part.values, name, stage, debug) for stage, part in parts.items()}
    merged = {stage: opt for stage, (opt, _) in completed.items()}
    resolved: dict[str, Stage] = {}
    for stage, part in parts.items():
        problems = Problems(lambda keys, places=part.places: where(places, keys, file), lines)  # type: ignore[misc]
        opt, needs = resolve(merged[stage], folder, merged, problems)
        check_stage(stage, opt, problems, trains)
        resolved[stage] = Stage(stage, opt, folder / stage, needs, part.places, file)
    problems = Problems(lambda keys: where(document.places, keys, file), lines)
    oneshot = check_oneshot(without_marks(document.values.get(ONESHOT)), parts, problems)
    fail(lines)
    names = order({stage: resolved[stage].needs for stage in resolved}, file)
    idle = dict.fromkeys(line for opt, taken_out in completed.values() for line in without_effect(opt, taken_out))
    stages = {stage: resolved[stage] for stage in names}
    return Experiment(name, file, root, stages, oneshot, within, tuple(idle), trains)


def _trains(values: Options) -> bool:
    """Whether an option file is there to train by."""
    datasets = values.get('datasets')
    return bool({'stages', 'train'} & values.keys()) or (isinstance(datasets, dict) and 'train' in datasets)


def _name(document: Document, file: Path, debug: bool) -> str:
    name = document.values.get('name')
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        state = 'is missing' if name is None else f'is {shown(name)}'
        raise UserError(
            f"{place_of(document.places, ('name',), file)}: key 'name' {state}: name the experiment by letters, "
            "digits, '.', '_', '+' and '-', 100 at most; its folder will be called so."
        )
    return f'debug_{name}' if debug and not name.startswith('debug') else name


def _parts(document: Document, file: Path, only: str) -> dict[str, Document]:
    """Each stage's options laid over the common part; ``only`` is the stage of a file without ``stages``."""
    common = {key: value for key, value in document.values.items() if key not in ('stages', ONESHOT)}
    stages = document.values.get('stages', {only: {}})
    place = place_of(document.places, ('stages',), file)
    if not isinstance(stages, dict) or not stages:
        raise UserError(f"{place}: key 'stages' must map at least one stage's name to its options.")
    parts = {}
    for stage, values in stages.items():
        place = place_of(document.places, ('stages', stage), file)
        if not re.fullmatch(NAME, stage) or not isinstance(values, dict | None):
            raise UserError(f'{place}: key {shown(f"stages.{stage}")} must be a plain name with a mapping of options.')
        own = {keys[2:]: at for keys, at in document.places.items() if keys[:2] == ('stages', stage)}
        merged = merge(Document(common, document.places), Document(values or {}, own))
        parts[stage] = Document(without_marks(merged.values), merged.places)
    return parts


def _plugins(parts: Mapping[str, Document], file: Path) -> dict[str, str]:
    """The modules that an option file names, each with its place."""
    found: dict[str, str] = {}
    for part in parts.values():
        plugins = part.values.get('plugins') or []
        if not isinstance(plugins, list) or not all(isinstance(module, str) for module in plugins):
            place = place_of(part.places, ('plugins',), file)
            raise UserError(f"{place}: key 'plugins' must be a list of names of modules, e.g. [my_package.my_method].")
        for number, module in enumerate(plugins):
            found.setdefault(module, f"{place_of(part.places, ('plugins', str(number)), file)}: key 'plugins'")
    return found


def _complete(values: Options, name: str, stage: str, debug: bool) -> tuple[Options, list[tuple[str, str]]]:
    """The options with everything that BasicSR's own training expects to find. Wrong types are left for the schema.

    Returns:
        the options, and what :func:`translate` has taken out of them.
    """
    opt: Options = {'num_gpu': 'auto', 'manual_seed': 0, 'datasets': {}, 'path': {}, 'logger': {}}
    opt.update(copy.deepcopy(dict(values)))
    taken_out = translate(opt)
    opt['name'] = f'{name}_{stage}'  # no slash: BasicSR makes a file name of it
    for key in ('path', 'logger', 'datasets'):
        opt[key] = {} if opt[key] is None else opt[key]
    for key, model in (('logger', LoggerOptions), ('val', ValOptions)):
        if isinstance(opt.get(key), dict):
            opt[key] = {**model.model_validate({}).model_dump(exclude_none=True), **opt[key]}
    for key, names in _WHOLE.items():
        given = opt.get(key) or {}
        for name in names if isinstance(given, dict) else ():
            if isinstance(given.get(name), float) and given[name].is_integer():
                given[name] = int(given[name])
    for phase, block in opt['datasets'].items() if isinstance(opt['datasets'], dict) else ():
        if isinstance(block, dict):
            block = opt['datasets'][phase] = with_its_own_names(block, option_names(block.get('type')))
            block.setdefault('name', phase)
            _expand_user(block)
            if phase == 'train':
                block.setdefault('num_worker_per_gpu', 2)
                block.setdefault('use_shuffle', True)
    if isinstance(opt['path'], dict):
        _expand_user(opt['path'])
    if debug and isinstance(opt['logger'], dict):
        opt['logger'].update(print_freq=1, save_checkpoint_freq=8)
        if isinstance(opt.get('val'), dict):
            opt['val']['val_freq'] = 8
    return opt, taken_out


def _expand_user(block: Block) -> None:
    for key, value in block.items():
        if isinstance(value, str) and value.startswith('~'):
            block[key] = os.path.expanduser(value)


def dump(opt: Options) -> str:
    """The options as YAML, which BasicSR's own reader takes too."""
    return yaml.safe_dump(dict(opt), sort_keys=False, allow_unicode=True, width=120)


def runtime(stage: Stage, rank: int = 0, world_size: int = 1, is_train: bool = True) -> Options:
    """A copy of a stage's options with what BasicSR's ``parse_options`` adds while running.

    Args:
        rank: this process's number of ``world_size``.
        is_train: for training; otherwise for testing, and results go to ``results/<experiment>/<stage>``.
    """
    import torch

    opt = copy.deepcopy(stage.opt)
    # The stage's own name and its experiment's may be anything.
    root = next((above.parent for above in stage.folder.parents[1:] if above.name == EXPERIMENTS), Path.cwd())
    opt.update(is_train=is_train, dist=world_size > 1, rank=rank, world_size=world_size, root_path=str(root))
    opt['auto_resume'] = False
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    for phase, block in opt['datasets'].items():
        block['phase'] = phase.split('_')[0]
        block['scale'] = opt['scale']
    folder = stage.folder if is_train else root / 'results' / stage.folder.relative_to(root / EXPERIMENTS)
    opt['path']['experiments_root' if is_train else 'results_root'] = opt['path']['log'] = str(folder)
    for part in ('visualization', 'models', 'training_states') if is_train else ('visualization',):
        opt['path'][part] = str(folder / part)
    return opt
