"""Where a stage stands: new, begun or done, and what a change of its options or of its data means for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from fsr_plugins.config import EXPERIMENTS, Stage, differences, fingerprint, finished
from fsr_plugins.config.fingerprint import ABSENT
from fsr_plugins.config.inputs import StageInputs, gather_inputs, read_inputs
from fsr_plugins.config.renames import renamed
from fsr_plugins.config.schema import StageOptions
from fsr_plugins.config.settings import read_settings
from fsr_plugins.config.yamlfile import parse
from fsr_plugins.engine.set_generation import read_begun
from fsr_plugins.engine.states import STATES, TrainingStates
from fsr_plugins.errors import UserError
from fsr_plugins.preflight.schedules import same_rates
from fsr_plugins.stores.once import built_in
from fsr_plugins.values import Options, Record

#: What only validation looks at, and what of it changes no figure.
_VALIDATION = re.compile(r'val(\.|$)|datasets\.(val|test)')
_UNMEASURED = re.compile(r'val\.(val_freq|save_img|suffix|pbar)$|val$')
#: What says how learning rates go, and how optimisers work.
_RATES = re.compile(r'train\.(total_iter|warmup_iter|scheduler(_\w+)?(\.|$))')
_OPTIMISERS = re.compile(r'train\.optim(_\w+)?(\.|$)')
_TOTAL = 'train.total_iter'
_BATCH = 'datasets.train.batch_size_per_gpu'
_DIGITS = 8
#: Where a stage's options are written for people, and for what versions before 0.2 have left.
OPTIONS = 'options.yml'


@dataclass(frozen=True)
class Standing:
    """What there is of a stage, and what is to be done."""

    inputs: StageInputs  #: as they are now
    record: Record | None = None  #: of ``done.json``, where nothing is left to train
    iteration: int = 0  #: training goes on behind it
    changes: tuple[str, ...] = ()  #: accepted; they hold from here on
    renew: bool = False  #: the optimisers' settings and rates are no longer those of the state
    measure: bool = False  #: it is done, but validation looks at other things
    anew: bool = False  #: accepted: what it was made of is made anew, and so is it


@dataclass(frozen=True)
class _Kept:
    """What the stage's folder says of what was done so far."""

    before: StageInputs | None  #: None where nothing is known that could be compared
    iteration: int
    record: Record | None = None


@dataclass
class _Findings:
    lines: list[str] = field(default_factory=list)  #: what stands in the way
    never: list[str] = field(default_factory=list)  #: what cannot be accepted either
    stale: list[str] = field(default_factory=list)  #: what other stages have made anew
    renew: bool = False
    measure: bool = False


def standing(stage: Stage, *, processes: int | None = None, accept: bool = False) -> Standing:
    """Compares options, data and files with those that a stage was begun or finished with.

    What has had no effect yet is free: validation, logging, workers, a longer ``total_iter`` and later changes of the
    learning rates. Data that lies elsewhere is the same data.

    Args:
        processes: how many are going to train; None: not compared.
        accept: take other changes, too, and train anew what was made of results that are others now.

    Raises:
        UserError: anything else has changed; each change is named.
    """
    kept = _kept(stage)
    if kept is None:
        return Standing(gather_inputs(stage.opt, processes or 1))
    if kept.record is not None:
        # Nothing is drawn for a stage that is done.
        with TemporaryDirectory(prefix='fsr_') as folder, built_in(Path(folder)):
            now = gather_inputs(stage.opt, processes or 1)
    else:
        now = gather_inputs(stage.opt, processes or 1)
    before = kept.before
    if before is None:
        return Standing(now, kept.record, kept.iteration)
    found = _compare(stage, before, now, kept, processes)
    # A set of which parts were made otherwise would be made of both.
    if accept and (found.stale or (found.lines and _is_begun_set(stage, kept))):
        return Standing(now, anew=True)
    if found.stale or found.never or (found.lines and not (accept and kept.record is None)):
        raise _refusal(stage, kept, found)
    return Standing(now, kept.record, kept.iteration, tuple(found.lines), found.renew, found.measure)


def _is_begun_set(stage: Stage, kept: _Kept) -> bool:
    return stage.generates_set and kept.record is None


def _refusal(stage: Stage, kept: _Kept, found: _Findings) -> UserError:
    state = 'has begun' if kept.record is None else 'is finished'
    remedy = f"Put them back, choose another 'name', or remove {stage.folder} (and the stages that build on it)"
    if found.stale and not found.lines:
        remedy = 'Put them back, or let --accept-changes train it anew (what is there is kept beside it)'
    elif _is_begun_set(stage, kept):
        remedy += '; or let --accept-changes make it anew (what is there is kept beside it)'
    elif kept.record is None and not found.never:
        remedy += f'; or let them hold from iteration {kept.iteration + 1} on: --accept-changes'
    changes = '; '.join(found.never + found.lines + found.stale)
    return UserError(f"Stage '{stage.name}' {state} with other options or data: {changes}. {remedy}.")


def _kept(stage: Stage) -> _Kept | None:
    """What is known of the stage so far; None if nothing was done that counts.

    Raises:
        UserError: something was done, but with what options cannot be known any more.
    """
    record = finished.record(stage)
    if record is not None:
        iterations = 0 if stage.generates_set else record['iterations']
        if record.get('inputs') is not None:
            return _Kept(read_inputs(record['inputs'], f"'{stage.folder / finished.DONE}'"), iterations, record)
        if not (stage.folder / OPTIONS).exists() and record['options'] == fingerprint(stage.opt):
            return _Kept(None, iterations, record)
        return _Kept({'options': _written(stage), 'processes': 1, 'content': {}}, iterations, record)
    if stage.generates_set:
        begun = read_begun(stage.folder)
        return None if begun is None else _Kept(begun, 0)
    ended = finished.iterations(stage)
    state = TrainingStates(stage.folder / STATES).newest()
    if ended is not None and (state is None or state['iter'] < ended):
        raise UserError(
            f"Stage '{stage.name}' is finished after {ended} iterations, and its training state is not there any more: "
            f"it cannot go on to {stage.train.total_iter}. Put 'train.total_iter' back to {ended}, choose "
            f"another 'name', or remove {stage.folder} (and the stages that build on it)."
        )
    if state is None:
        return None
    if state['iter'] > stage.train.total_iter and 'inputs' not in state:
        raise UserError(
            f"Stage '{stage.name}' has a state of iteration {state['iter']} in {stage.folder / STATES}, and "
            f"'train.total_iter' is {stage.train.total_iter}: remove the state, or raise it."
        )
    if 'inputs' in state:
        return _Kept(state['inputs'], state['iter'])
    before: StageInputs = {'options': _written(stage), 'processes': len(state['random']), 'content': {}}
    return _Kept(before, state['iter'])


def _written(stage: Stage) -> Options:
    file = stage.folder / OPTIONS
    remedy = f'put it back, or remove {stage.folder} (and the stages that build on it)'
    try:
        begun = parse(file.read_text(encoding='utf-8'), str(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is no text'
        raise UserError(
            f"'{file}' cannot be read ({reason}), so whether stage '{stage.name}' was begun with these options cannot "
            f'be known: {remedy}.'
        ) from error
    except UserError as error:
        raise UserError(f'{str(error).rstrip(".")}; {remedy}.') from error
    return renamed(begun.values, begun.places, str(file), warn=False)[0]


def _compare(stage: Stage, before: StageInputs, now: StageInputs, kept: _Kept, processes: int | None) -> _Findings:
    found = _Findings()
    known = before['content'].keys() & now['content'].keys()
    rates = []
    done = kept.record is not None
    for difference in differences(before['options'], now['options'], _experiment(stage), _defaults(stage)):
        key = difference.key
        if key in known or (key == _BATCH and processes is not None):
            continue
        if _VALIDATION.match(key):
            found.measure |= done and not _UNMEASURED.match(key)
        elif _RATES.match(key):
            rates.append(difference)
        else:
            found.renew |= bool(_OPTIMISERS.match(key)) or key == 'precision'
            found.lines.append(str(difference))
    if rates:
        found.renew |= any(difference.key != _TOTAL for difference in rates)
        if stage.train.total_iter < kept.iteration:
            found.never += [f'{each}, and {kept.iteration} are trained' for each in rates if each.key == _TOTAL]
        elif not _rates_are_the_same(stage, before['options'], kept):
            found.lines += map(str, rates)
    found.lines += _step(stage, before, kept, processes)
    for key in sorted(known):
        old, new = before['content'][key], now['content'][key]
        if old == new:
            continue
        if _VALIDATION.match(key):
            found.measure |= done
            continue
        value = _value(now['options'], key)
        line = f'{key}: what {value} holds ({old[:_DIGITS]} -> {new[:_DIGITS]})'
        (found.stale if _is_made(stage, value) else found.lines).append(line)
    return found


def _rates_are_the_same(stage: Stage, before: Options, kept: _Kept) -> bool:
    """Whether every iteration so far would have had the learning rates it had, and none is too many."""
    if kept.record is not None and _value(before, _TOTAL) != stage.train.total_iter:
        return False
    try:
        return same_rates(stage, before, kept.iteration)
    except (ValidationError, KeyError, TypeError):  # what was kept says no rates
        return False


def _step(stage: Stage, before: StageInputs, kept: _Kept, processes: int | None) -> list[str]:
    """What a step sees, and where steps end, if that is not what it was."""
    if kept.record is not None or stage.generates_set:
        return []
    lines = []
    if processes is not None:
        sets = read_settings(before['options']).sets
        old, new = sets['train'].batch_size if 'train' in sets else 0, stage.data.batch_size
        if old * before['processes'] != new * processes:
            lines.append(f'images of an iteration: {before["processes"]} x {old} -> {processes} x {new}')
    accumulate = _value(before['options'], 'train.accumulate')
    accumulate = accumulate if isinstance(accumulate, int) and accumulate > 0 else 1
    if kept.iteration < stage.train.total_iter and kept.iteration % accumulate:
        lines.append(f'train.accumulate: {accumulate} does not divide the {kept.iteration} iterations that it ended at')
    return lines


def _defaults(stage: Stage) -> dict[str, object]:
    """What options are that are left out, by their keys."""
    fields = dict(StageOptions.model_fields)
    if not stage.generates_set:
        fields |= {f'train.{key}': field for key, field in stage.model.Train.model_fields.items()}
    return {key: field.default for key, field in fields.items() if not field.is_required()}


def _experiment(stage: Stage) -> str:
    """The folder of ``experiments/`` that the stage lies in."""
    above = [folder for folder in stage.folder.parents if folder.parent.name == EXPERIMENTS]
    return above[-1].name if above else ''


def _value(options: Options, key: str) -> object:
    value: object = options
    for step in key.split('.'):
        value = value.get(step, ABSENT) if isinstance(value, dict) else ABSENT
    return value


def _is_made(stage: Stage, value: object) -> bool:
    """Whether another stage of the experiment makes what a value names."""
    folders = [stage.folder.parent / name for name in stage.needs]
    values = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and Path(text).is_relative_to(folder) for text in values for folder in folders)
