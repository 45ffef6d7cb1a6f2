"""The training loop of one stage."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fsr_plugins.atomic import write_text
from fsr_plugins.config.inputs import Change, StageInputs
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.config.settings import read_settings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.engine import distributed, generators, report
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_train_loader, make_val_loaders
from fsr_plugins.engine.logs import StageLog, announce
from fsr_plugins.engine.sharing import FairThreads
from fsr_plugins.engine.states import STATES, TrainingStates, read_state
from fsr_plugins.engine.stop import StopSignal
from fsr_plugins.engine.tuning import settled
from fsr_plugins.errors import Interrupted, RunError, UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.evaluation import Results
from fsr_plugins.models.watch import NotFinite
from fsr_plugins.registry import lookup
from fsr_plugins.values import Options, State

logger = logging.getLogger(__name__)


@dataclass
class StageOutcome:
    """What a finished stage leaves."""

    iterations: int
    seconds: float
    checkpoints: dict[str, Path]
    validation: dict[str, Results] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)


class Trainer:
    """Trains a stage from where it stands to its end.

    Args:
        opt: the stage with run-time keys (see :func:`fsr_plugins.config.runtime`).
        folder: the stage's folder.
        inputs: what its weights come from; training states keep it.
        changes: accepted changes of options or data, a line each, which hold from where training goes on.
        renew: the options of optimisers and learning rates are not those of the state any more.
    """

    def __init__(
        self,
        opt: Options,
        folder: Path,
        world: World,
        inputs: StageInputs,
        changes: Sequence[str] = (),
        renew: bool = False,
    ) -> None:
        self.opt, self.folder, self.world = opt, folder, world
        self.inputs, self.changes, self.renew = inputs, list(changes), renew
        self.options = read_settings(opt)
        self.train: TrainOptions = lookup('models', self.options.model_type).Train.model_validate(self.options.train)
        self.states = TrainingStates(folder / STATES, self.options.logger.keep_states)
        self.total, self.accumulate = self.train.total_iter, self.train.accumulate
        self.iteration, self.seconds = 0, 0.0
        self.validation: dict[str, Results] = {}
        #: Whether the iteration that was saved last is yet to be validated.
        self.validation_due = False
        self.stop = StopSignal()

    def run(self) -> StageOutcome:
        """Trains to the end.

        Raises:
            Interrupted: asked to stop; a state was saved.
            RunError: a loss or a weight is NaN or Inf, or something could not be written.
        """
        self.log: StageLog | None = None
        if self.world.is_main:
            self.log = StageLog(self.folder, self.options.logger, total=self.total, name=self.options.name)
        try:
            with FairThreads(self.options.threads) as self.threads:
                return self._run()
        except NotFinite as error:
            raise RunError(f'{error} {self.states.kept()}') from error
        finally:
            if self.log is not None:
                self.log.close()

    def _run(self) -> StageOutcome:
        distributed.choose_algorithms(self.options.deterministic)
        begun = self.states.newest() if self.options.leaves_to_measure else None
        self.opt, self.way = settled(self.opt, self.world, None if begun is None else begun.get('way'))
        generators.seed_everything(self.options.manual_seed)
        self.model: FSRModel = lookup('models', self.options.model_type)(self.opt)
        generators.seed_everything(self.options.manual_seed + self.world.rank)
        self._resume()
        pin = self.model.device.type == 'cuda'
        self.val_loaders = make_val_loaders(self.options, self.world, pin) if self.options.val_freq else {}
        # Sets may have been taken out since the stage began.
        self.validation = {name: found for name, found in self.validation.items() if name in self.val_loaders}
        if self.log is not None:
            self.log.begin(self.iteration, self.validation_due)
        with make_train_loader(self.options, self.world, self.iteration, pin) as loader:
            self.per_epoch = loader.iters_per_epoch
            self.model.check_data(loader.dataset)
            self._note_data(loader.dataset)
            announce(self.model, len(loader.dataset), self.per_epoch, self.total)
            with self.stop.watching():
                if self.validation_due:
                    self._validate()
                self._loop(loader)
        if distributed.any_rank(bool(self.stop.number)):
            raise self._interrupted()
        return self._finish()

    def _resume(self) -> None:
        """Takes up the newest state of the stage, else the one that ``path.resume_state`` names."""
        # Settings of optimisers that have changed are not looked for in the state.
        self.model.keeps_optimizers = not self.renew
        state = self.states.newest(self.model.check_training_state)
        where, remedy = str(self.states.folder), 'remove it'
        if state is None and (other := self.options.resume_state):
            state, where = read_state(Path(other)), f"'{other}' (key 'path.resume_state')"
            remedy = 'name another, or leave the key out'
            self.changes = [f'training went on from {other}']
            self.renew, self.model.keeps_optimizers = True, False
            # Its figures are of its own sets.
            state['validation'] = {}
            try:
                self.model.check_training_state({**state['model']})
            except UserError as error:
                raise UserError(f'The state {where} is not one of this stage ({error}): {remedy}.') from error
        if state is None:
            return
        self.iteration, self.seconds = state['iter'], state['seconds']
        self.validation, self.validation_due = state['validation'], state.get('validation_due', False)
        try:
            model: State = {**state['model']}
            self.model.load_training_state(model)
            if 'own' in state:
                self.model.load_own_state(state['own'][self.world.rank % len(state['own'])])
            generators.set_random_state({**state['random'][self.world.rank % len(state['random'])]})
        except (UserError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f'The state of iteration {self.iteration} in {where} is not one of this stage '
                f'({str(error).splitlines()[0] if str(error) else type(error).__name__}): {remedy}.'
            ) from error
        # A training that ends here was to end later when the state was saved.
        self.validation_due |= self.iteration >= self.total
        if self.renew:
            self.changes += self.model.renew_optimizers(self.iteration, model)
        self.model.current_iter = self.iteration
        self.model.manifests = {**state.get('manifests', {})}
        self.model.history = [*state.get('history', [])]
        if self.changes:
            self.model.history.append({'after': self.iteration, 'changes': self.changes})
        logger.info('%s: resumed at iteration %d.', self.options.name, self.iteration)

    def _note_data(self, dataset: object) -> None:
        """What the stores of every set say of themselves, and the images that are trained on.

        BasicSR's datasets do not say. What was trained on before data was exchanged stays named.
        """
        loaders = {data.phase: self.val_loaders.get(data.name) for data in self.options.validation_sets}
        validated = {phase: loader.dataset for phase, loader in loaders.items() if loader is not None}
        found = {
            phase: data.provenance()
            for phase, data in {'train': dataset, **validated}.items()
            if isinstance(data, ImageDataset)
        }
        before = self.model.manifests.get('train', [])
        now = found.get('train', [])
        self.model.manifests = found
        if self.model.history and before:
            self.model.manifests['train'] = [*now, *(store for store in before if store not in now)]
        if not (self.world.is_main and isinstance(dataset, ImageDataset)):
            return
        for role, keys in dataset.lists().items():
            file = self.folder / 'images' / f'{role}.txt'
            if self.model.history and file.exists():
                keys = list(dict.fromkeys([*file.read_text(encoding='utf-8').splitlines(), *keys]))
            write_text(file, '\n'.join(keys) + '\n')

    def _loop(self, loader: TrainLoader) -> None:
        started = time.perf_counter()
        before = self.seconds
        batches = iter(loader)
        while self.iteration < self.total:
            batch = next(batches)
            self.iteration += 1
            self.model.update_learning_rate(self.iteration, self.train.warmup_iter)
            self.model.feed_data(batch)
            self.model.optimize_parameters(self.iteration)
            self.seconds = before + time.perf_counter() - started
            self.threads.step()
            self._report()
            # A state in the middle of an accumulated step would lose its gradients: it waits for the step's end, and
            # a validation for the state.
            last = self.iteration == self.total
            boundary = self.iteration % self.accumulate == 0 or last
            frequency = self.options.val_freq
            validate = boundary and bool(frequency) and (last or self._due(frequency, self.accumulate))
            stop = boundary and bool(self.stop.number)
            if boundary and self.world.is_distributed:
                # Ranks must agree on the iteration; asking each other costs a round, so they do it now and then.
                stop = self.iteration % 10 == 0 and distributed.any_rank(stop)
            checkpoint = last or self._due(self.options.logger.save_checkpoint_freq, self.accumulate)
            # Whatever goes wrong in validation, the training up to it is kept.
            if boundary and (stop or checkpoint or validate):
                self._save(validation_due=validate, networks=stop or checkpoint)
            if stop:
                raise self._interrupted()
            if validate:
                self._validate()

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f'{self.options.name}: stopped at iteration {self.iteration} of {self.total}; everything is saved in '
            f'{self.folder}. Give the same command again to go on.',
            self.stop.number or signal.SIGTERM,
        )

    def _due(self, frequency: int, width: int = 1) -> bool:
        """Whether a multiple of ``frequency`` lies in the last ``width`` iterations."""
        return bool(frequency) and self.iteration // frequency > (self.iteration - width) // frequency

    def _report(self) -> None:
        if self.log is not None:
            self.log.step(self.iteration)
        if self._due(self.options.logger.print_freq) or self.iteration == self.total:
            losses = self.model.get_current_log()
            if self.log is not None:
                epoch = int((self.iteration - 1) / self.per_epoch)
                self.log.losses(self.iteration, epoch, self.model.get_current_learning_rate(), losses)

    def _validate(self) -> None:
        save_images = self.options.val is not None and self.options.val.save_img
        for name, loader in self.val_loaders.items():
            folder = self.folder / 'visualization' / name if save_images else None
            results = self.model.validate(loader, folder, str(self.iteration))
            self.validation[name] = results
            for net, figures in results.items():
                shown = '  '.join(f'{metric} {value:.4f}' for metric, value in figures.items())
                logger.info('%s %d: %s, %s: %s', self.options.name, self.iteration, name, net, shown)
            if self.log is not None:
                self.log.record(self.iteration, {'validation': {name: results}})
                for net, figures in results.items():
                    self.log.scalars(self.iteration, f'metrics/{name}/{net}', figures)

    def _save(self, validation_due: bool, networks: bool) -> None:
        """Saves where training stands, and every network's file if ``networks``."""
        distributed.everywhere(self.model.watch.check)
        self.model.synchronise_buffers()
        random = distributed.gather(generators.random_state())
        own = distributed.gather(self.model.own_state())

        def write() -> None:
            if networks:
                self.model.save_networks(str(self.iteration))
            else:
                self.model.assert_finite()
            state = {
                'iter': self.iteration,
                'seconds': self.seconds,
                'validation': self.validation,
                'validation_due': validation_due,
                'random': random,
                **({'own': own} if any(own) else {}),
                'model': self.model.training_state(),
                'inputs': self.inputs,
                'history': self.model.history,
                'manifests': self.model.manifests,
                'way': self.way,
            }
            self.states.save(self.iteration, state)
            if networks:
                report.write_preview(self.folder, self.model)

        distributed.on_main(write)

    def _finish(self) -> StageOutcome:
        distributed.everywhere(self.model.assert_frozen_unchanged)
        checkpoints = distributed.on_main(lambda: self.model.save_networks('latest'))
        # Once more: a run that was killed has it from before its last state.
        distributed.on_main(lambda: report.write_preview(self.folder, self.model))
        if self.model.device.type == 'cuda':
            logger.info('%s: at most %.2f GiB of GPU memory.', self.options.name,
                        torch.cuda.max_memory_allocated() / 2**30)  # fmt: skip
        return StageOutcome(self.total, self.seconds, checkpoints, self.validation, self.model.history)
