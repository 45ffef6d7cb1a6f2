"""What a finished stage has promised in its ``done.json``, and whether it is still there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fsr_plugins.checkpoints import load_state
from fsr_plugins.checkpoints.tensors import all_finite, tensors_in
from fsr_plugins.config.experiment import Stage
from fsr_plugins.errors import UserError
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.opening import open_store
from fsr_plugins.values import Record
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)

DONE = 'done.json'
_REASON = 'what it says cannot be relied on, so the stage counts as not finished'
_DIGITS = 8


class _Network(BaseModel):
    checkpoint: str
    sha256: str


class _Done(BaseModel):
    """What every ``done.json`` has; that of a set names no networks, that of a repeat no checkpoint."""

    model_config = ConfigDict(strict=True)

    iterations: int
    seconds: float
    sha256: str
    validation: dict[str, object]
    options: str
    inputs: dict[str, object] | None = None
    checkpoint: str | None = None
    networks: dict[str, _Network] = {}
    files: dict[str, str] = {}


def is_finished(stage: Stage) -> bool:
    """Whether the stage was trained to its end; not whether its results are still there, see :func:`verified`."""
    found = _read(stage)
    return found is not None and not _goes_on(stage, found)


def iterations(stage: Stage) -> int | None:
    """After how many iterations the stage was finished, be it for a shorter training than is asked for now."""
    found = _read(stage)
    return None if found is None else found['iterations']


def shortfall(stage: Stage) -> str:
    """What is missing of a stage that :func:`is_finished` denies, as completes "the stage …"."""
    ended = iterations(stage)
    if ended is None:
        return 'is not trained yet'
    return f'was trained for {ended} of {stage.opt["train"]["total_iter"]} iterations'


def _goes_on(stage: Stage, found: Record) -> bool:
    """Whether more iterations are asked for than were trained."""
    return not stage.generates_set and found['iterations'] < stage.opt['train']['total_iter']


def record(stage: Stage) -> Record | None:
    """What ``done.json`` says, with the paths at which things are now; None if the stage is not finished.

    A file that is damaged is named in a warning, and the stage is not finished.
    """
    try:
        found = _read(stage, explain=True)
    except UserError as error:
        logger.warning('%s', error)
        return None
    if found is None or _goes_on(stage, found):
        return None
    for promise in (found, *found.get('networks', {}).values()):
        if promise.get('checkpoint') is not None:
            # Where it is now: the experiment may have been moved since.
            name = Path(promise['checkpoint']).name
            promise['checkpoint'] = str(stage.folder / name if stage.generates_set else stage.folder / 'models' / name)
    return found


def records(stages: Mapping[str, Stage]) -> dict[str, Record]:
    """:func:`record` of those that are finished; whether what they promise is still there is not looked at."""
    found = {name: record(stage) for name, stage in stages.items()}
    return {name: content for name, content in found.items() if content is not None}


def verified(stage: Stage) -> Record | None:
    """:func:`record`, after a look at everything that it promises: each file is there, is what it was, and is finite.

    Raises:
        UserError: something is missing or damaged.
    """
    found = record(stage)
    if found is None:
        return None
    if stage.generates_set:
        _check_set(stage, Path(found['checkpoint']), found['sha256'])
        return found
    networks = {Path(network['checkpoint']): network['sha256'] for network in found.get('networks', {}).values()}
    if found.get('checkpoint') is not None:
        networks.setdefault(Path(found['checkpoint']), found['sha256'])
    others = {stage.folder / name: sha256 for name, sha256 in found.get('files', {}).items()}
    for file, sha256 in {**networks, **others}.items():
        if not file.is_file():
            raise _lost(stage, file, 'is missing')
        if file_sha256(file) != sha256:
            raise _lost(stage, file, f'is not what the stage ended with (its SHA-256 does not begin with '
                                     f'{sha256[:_DIGITS]})')  # fmt: skip
    for file in networks:
        if not all_finite(tensor for _, tensor in tensors_in(load_state(file))):
            raise _lost(stage, file, 'holds weights that are NaN or Inf')
    return found


def verify_all(stages: Iterable[Stage]) -> None:
    """:func:`verified` of those that are finished.

    Raises:
        UserError: a line for each whose results are missing or damaged.
    """
    problems = []
    for stage in stages:
        try:
            verified(stage)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError('\n'.join(problems))


def _read(stage: Stage, explain: bool = False) -> Record | None:
    """The content of ``done.json``; None without one, or with one that is damaged.

    Raises:
        UserError: ``explain``, and it is damaged.
    """
    path = stage.folder / DONE
    if not path.exists():
        return None
    try:
        content: Record = json.loads(path.read_bytes())
        _Done.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        if not explain:
            return None
        problem = 'is no JSON'
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            problem = f"has no good '{'.'.join(map(str, first['loc']))}'" if first['loc'] else 'is no record'
        elif isinstance(error, OSError):
            problem = f'cannot be read ({error.strerror})'
        raise UserError(f"'{path}' is damaged ({problem}): {_REASON}.") from error
    return content


def _check_set(stage: Stage, path: Path, sha256: str) -> None:
    if not path.exists():
        raise _lost(stage, path, 'is missing')
    try:
        found = store_checksum(open_store(path))
    except UserError as error:
        raise _lost(stage, path, f'is damaged ({error})') from error
    if found != sha256:
        raise _lost(stage, path, f'is not what the stage made (its checksum does not begin with {sha256[:_DIGITS]})')


def _lost(stage: Stage, path: Path, problem: str) -> UserError:
    return UserError(
        f"Stage '{stage.name}' is finished, but its result '{path}' {problem}: restore the file, or remove "
        f'{stage.folder} (and the stages that build on it) and train it again.'
    )
