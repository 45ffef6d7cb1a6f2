"""Training states to resume from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, with_config
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import PARAMS, PARAMS_EMA, load_state, not_finite, write_tensors
from fsr_plugins.config.inputs import Change, StageInputs
from fsr_plugins.engine.generators import check_random_state
from fsr_plugins.errors import UserError, shown
from fsr_plugins.values import State
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)

#: The folder of a stage that they lie in.
STATES = 'training_states'
_Tensors = dict[str, Tensor]
_PLAIN = ConfigDict(extra='allow', arbitrary_types_allowed=True, strict=True)


@with_config(_PLAIN)
class _Model(TypedDict):
    """See :meth:`~fsr_plugins.models.SavedModel.training_state`; methods add to it."""

    nets: Annotated[dict[str, _Tensors], Field(min_length=1)]
    averages: dict[str, _Tensors]
    optimizers: list[State]
    schedulers: list[State]
    scaler: State
    log: dict[str, Tensor]


@with_config(_PLAIN)
class _Random(TypedDict):
    """See :func:`~fsr_plugins.engine.generators.random_state`."""

    python: tuple[int, Annotated[tuple[int, ...], Field(min_length=625, max_length=625)], float | None]
    #: NumPy takes any position for true, and reads there.
    numpy: tuple[str, Tensor, Annotated[int, Field(ge=0, le=624)], int, float]
    torch: Tensor
    cuda: Tensor | None


@with_config(_PLAIN)
class TrainingState(TypedDict):
    """What a state holds.

    Attributes:
        iter: the iteration it was saved after.
        seconds: of training so far.
        validation: the last figures by set, network and metric.
        validation_due: whether this iteration is yet to be validated.
        random: the generators of each process.
        own: what else each process has for itself, of models that have it.
        model: weights, averages, optimisers.
        inputs, history, manifests: what the weights come from; states of version 0.1 do not say.
        way: what was measured to be the fastest of options that are ``auto``.
    """

    iter: Annotated[int, Field(ge=1)]
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    validation: dict[str, dict[str, dict[str, float]]]
    validation_due: NotRequired[bool]
    random: Annotated[list[_Random], Field(min_length=1)]
    own: NotRequired[Annotated[list[State], Field(min_length=1)]]
    model: _Model
    inputs: NotRequired[StageInputs]
    history: NotRequired[list[Change]]
    manifests: NotRequired[dict[str, list[object]]]
    way: NotRequired[dict[str, str | bool]]


_STATE = TypeAdapter(TrainingState)


class TrainingStates:
    """The states ``<iteration>.state`` in a folder; each with its SHA-256 beside it, the newest few kept.

    Args:
        folder: where they are; created at the first :meth:`save`.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep
        self._is_tried = False

    def _iterations(self) -> list[int]:
        return sorted((int(f.stem) for f in self.folder.glob('*.state') if f.stem.isdigit()), reverse=True)

    def _files(self, iteration: int) -> tuple[Path, Path]:
        return self.folder / f'{iteration}.state', self.folder / f'{iteration}.state.sha256'

    def save(self, iteration: int, state: State) -> None:
        """Writes a state whole or not at all, then removes the oldest beyond ``keep`` of this course of training.

        Raises:
            RunError: it cannot be written; the states before it are untouched.
        """
        file, digest = self._files(iteration)
        # Of a state of this iteration that was there before: it would call the new one damaged.
        digest.unlink(missing_ok=True)
        write_text(digest, write_tensors(file, state))
        if not self._is_tried:
            self._is_tried = True
            self._try(file)
        # Training would have gone on from a newer one, were it of any use: those do not count.
        for old in [each for each in self._iterations() if each <= iteration][self.keep :]:
            for path in self._files(old):
                path.unlink(missing_ok=True)

    def _try(self, file: Path) -> None:
        """Reads the first state again: a model of anybody's may put things into it that a file can hold and no reader
        takes.
        """
        try:
            read_state(file)
        except UserError as error:
            logger.warning('%s So no training can go on from this one: if it is ended, it is lost.', error)

    def newest(self, check: Callable[[State], None] | None = None) -> TrainingState | None:
        """The newest state that is whole and finite; others are reported and passed over. None if there is none.

        Args:
            check: raises UserError, a part of a sentence, for a state that is not of the stage; it is passed over, too.

        Raises:
            UserError: there are good states, but none is of the stage.
        """
        iterations, misfit = self._iterations(), ''
        for iteration in iterations:
            try:
                state = self._read(iteration)
            except UserError as error:
                logger.warning('%s Using the one before.', error)
                continue
            try:
                if check is not None:
                    check(cast('State', state['model']))
                return state
            except UserError as error:
                logger.warning('%s is of another stage: %s. Using the one before.', self._files(iteration)[0], error)
                misfit = misfit or str(error)
        if misfit:
            raise UserError(
                f'No state in {self.folder} is of this stage ({misfit}): put its options back, or remove the folder to '
                'begin anew.'
            )
        if iterations:
            logger.warning('No state in %s can be used: the stage begins anew.', self.folder)
        return None

    def _read(self, iteration: int) -> TrainingState:
        file, digest = self._files(iteration)
        # A kill between the two writes leaves a state without its digest: it was renamed whole, so it is read.
        if digest.exists() and digest.read_bytes() != file_sha256(file).encode():
            raise UserError(f'{file} is damaged (not the SHA-256 written with it).')
        state = read_state(file)
        train = state['inputs']['options'].get('train') if 'inputs' in state else {'total_iter': iteration}
        total = train.get('total_iter') if isinstance(train, dict) else None
        if state['iter'] != iteration or not isinstance(total, int) or iteration > total:
            raise UserError(f'{file} says that it is of iteration {state["iter"]} of {total}.')
        return state

    def kept(self) -> str:
        """What there is to go on from, in a sentence."""
        state = self.newest()
        if state is None:
            return 'Nothing was saved yet: there is no checkpoint.'
        return f'The last state saved is {self._files(state["iter"])[0]}.'


def read_state(file: Path) -> TrainingState:
    """A state, whole and finite.

    Raises:
        UserError: it is damaged, none of this toolkit's, or holds numbers that are NaN or Inf.
    """
    state = load_state(file)
    try:
        _STATE.validate_python(state)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = shown('.'.join(map(str, first['loc'])))
        what = (
            '' if not first['loc'] else f': it lacks {place}' if first['type'] == 'missing' else f': {place} is wrong'
        )
        if isinstance(state, dict) and {PARAMS, PARAMS_EMA} & state.keys():
            what = ", but a network's weights. States are called <iteration>.state; weights to begin with are named by "
            what += "'path.pretrain_network_<x>'"
        raise UserError(f'{file} is no training state of this toolkit{what}.') from error
    for random in state['random']:
        try:
            check_random_state({**random})
        except UserError as error:
            raise UserError(f'{file} cannot be used: {error}.') from error
    if wrong := not_finite(state['model']):
        weights = wrong.startswith(('nets.', 'averages.'))
        what = 'weights that are NaN or Inf' if weights else f'numbers that are NaN or Inf ({shown(wrong)})'
        raise UserError(f'{file} holds {what}.')
    return cast('TrainingState', state)
