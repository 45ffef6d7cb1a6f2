"""The training loop of one stage."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fsr_plugins.atomic import write_text
from fsr_plugins.config.inputs import Change, StageInputs
from fsr_plugins.config.problems import explained
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.engine import distributed, report
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.logs import StageLog
from fsr_plugins.engine.states import STATES, TrainingStates, read_state
from fsr_plugins.engine.stop import StopSignal
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


def make_dataset(block: Mapping[str, Any], phase: str, opt: Mapping[str, Any]) -> Any:
    """The dataset a block under ``datasets`` names, with the keys BasicSR adds and the run's seed."""
    options = {'scale': opt['scale'], 'seed': opt['manual_seed'], **block, 'phase': phase}
    with explained(f"the set '{block['name']}' cannot be built"):
        return lookup('datasets', block['type'])(options)


def make_train_loader(opt: Options, world: World, start: int, pin_memory: bool) -> TrainLoader:
    """Batches of ``datasets.train`` from iteration ``start`` on."""
    block = opt['datasets']['train']
    return TrainLoader(
        make_dataset(block, 'train', opt),
        block['batch_size_per_gpu'],
        seed=opt['manual_seed'],
        rank=world.rank,
        world_size=world.size,
        start=start,
        threads=block.get('num_worker_per_gpu', 2),
        pin_memory=pin_memory,
    )


def make_val_loaders(opt: Options, world: World, pin_memory: bool) -> dict[str, EvalLoader]:
    """A loader for every set under ``datasets`` but ``train``, by the set's name; each rank gets its share."""
    loaders = {}
    for phase, block in opt['datasets'].items():
        if phase.split('_')[0] in ('val', 'test'):
            loaders[block['name']] = EvalLoader(
                make_dataset(block, 'val', opt),
                block.get('batch_size_per_gpu', 16),
                rank=world.rank,
                world_size=world.size,
                threads=block.get('num_worker_per_gpu', 2),
                pin_memory=pin_memory,
            )
    return loaders


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
        options = opt.get('logger') or {}
        self.states = TrainingStates(folder / STATES, options.get('keep_states', 3))
        self.total: int = opt['train']['total_iter']
        self.print_freq: int = options.get('print_freq', 100)
        self.save_freq: int = options.get('save_checkpoint_freq', 5000)
        self.val_freq: int = (opt.get('val') or {}).get('val_freq', 0)
        self.warmup: int = opt['train'].get('warmup_iter', -1)
        self.accumulate: int = opt['train'].get('accumulate', 1)
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
        name, options = self.opt['name'], self.opt.get('logger') or {}
        self.log = StageLog(self.folder, options, total=self.total, name=name) if self.world.is_main else None
        try:
            return self._run()
        except NotFinite as error:
            raise RunError(f'{error} {self.states.kept()}') from error
        finally:
            if self.log is not None:
                self.log.close()

    def _run(self) -> StageOutcome:
        distributed.choose_algorithms(self.opt.get('deterministic', False))
        distributed.seed_everything(self.opt['manual_seed'])
        self.model: FSRModel = lookup('models', self.opt['model_type'])(self.opt)
        distributed.seed_everything(self.opt['manual_seed'] + self.world.rank)
        self._resume()
        pin = self.model.device.type == 'cuda'
        self.val_loaders = make_val_loaders(self.opt, self.world, pin) if self.val_freq else {}
        # Sets may have been taken out since the stage began.
        self.validation = {name: found for name, found in self.validation.items() if name in self.val_loaders}
        if self.log is not None:
            self.log.begin(self.iteration, self.validation_due)
        with make_train_loader(self.opt, self.world, self.iteration, pin) as loader:
            self.per_epoch = loader.iters_per_epoch
            self.model.check_data(loader.dataset)
            self._note_data(loader.dataset)
            self._announce(len(loader.dataset))
            with self.stop.watching():
                if self.validation_due:
                    self._validate()
                self._loop(loader)
        if distributed.any_rank(bool(self.stop.number)):
            raise self._interrupted()
        return self._finish()

    def _announce(self, images: int) -> None:
        networks = ', '.join(
            f'{label} {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M'
            for label, net in self.model.trainable().items()
        )
        where = f'{self.model.device} in {self.model.precision.name}'
        logger.info(
            '%s: %d images, %.1f iterations an epoch, %d iterations, on %s; %s',
            self.opt['name'], images, self.per_epoch, self.total, where, networks,
        )  # fmt: skip

    def _resume(self) -> None:
        """Takes up the newest state of the stage, else the one that ``path.resume_state`` names."""
        state = self.states.newest(self.model.check_training_state)
        where = str(self.states.folder)
        if state is None and (other := self.opt['path'].get('resume_state')):
            state, where = read_state(Path(other).expanduser()), str(other)
            self.changes = [f'training went on from {other}']
            self.renew = True
        if state is None:
            return
        self.iteration, self.seconds = state['iter'], state['seconds']
        self.validation, self.validation_due = state['validation'], state.get('validation_due', False)
        try:
            model: State = {**state['model']}
            self.model.check_training_state(model)
            self.model.load_training_state(model)
            distributed.set_random_state({**state['random'][self.world.rank % len(state['random'])]})
        except (UserError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f'The state of iteration {self.iteration} in {where} is not one of this stage '
                f'({str(error).splitlines()[0] if str(error) else type(error).__name__}): remove it.'
            ) from error
        if self.renew:
            self.model.renew_optimizers(self.iteration)
        self.model.current_iter = self.iteration
        self.model.manifests = {**state.get('manifests', {})}
        self.model.history = [*state.get('history', [])]
        if self.changes:
            self.model.history.append({'after': self.iteration, 'changes': self.changes})
        logger.info('%s: resumed at iteration %d.', self.opt['name'], self.iteration)

    def _note_data(self, dataset: Any) -> None:
        """What the stores of every set say of themselves, and the images that are trained on.

        BasicSR's datasets do not say. What was trained on before data was exchanged stays named.
        """
        sets = {phase: self.val_loaders.get(block['name']) for phase, block in self.opt['datasets'].items()}
        validated = {phase: val.dataset for phase, val in sets.items() if val is not None and phase != 'train'}
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
            self.model.update_learning_rate(self.iteration, self.warmup)
            self.model.feed_data(batch)
            self.model.optimize_parameters(self.iteration)
            self.seconds = before + time.perf_counter() - started
            self._report()
            validate = self._due(self.val_freq) or bool(self.val_freq and self.iteration == self.total)
            # A state in the middle of an accumulated step would lose its gradients: it waits for the step's end.
            boundary = self.iteration % self.accumulate == 0 or self.iteration == self.total
            stop = boundary and bool(self.stop.number)
            if boundary and self.world.is_distributed:
                # Ranks must agree on the iteration; asking each other costs a round, so they do it now and then.
                stop = self.iteration % 10 == 0 and distributed.any_rank(stop)
            checkpoint = self._due(self.save_freq, self.accumulate) or self.iteration == self.total
            # Whatever goes wrong in validation, the training up to it is kept.
            if boundary and (stop or checkpoint or validate):
                self._save(validation_due=validate, networks=stop or checkpoint)
            if stop:
                raise self._interrupted()
            if validate:
                self._validate()

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f'{self.opt["name"]}: stopped at iteration {self.iteration} of {self.total}; everything is saved in '
            f'{self.folder}. Give the same command again to go on.',
            self.stop.number or signal.SIGTERM,
        )

    def _due(self, frequency: int, width: int = 1) -> bool:
        """Whether a multiple of ``frequency`` lies in the last ``width`` iterations."""
        return bool(frequency) and self.iteration // frequency > (self.iteration - width) // frequency

    def _report(self) -> None:
        if self.log is not None:
            self.log.step(self.iteration)
        if self._due(self.print_freq) or self.iteration == self.total:
            losses = self.model.get_current_log()
            if self.log is not None:
                epoch = int((self.iteration - 1) / self.per_epoch)
                self.log.losses(self.iteration, epoch, self.model.get_current_learning_rate(), losses)

    def _validate(self) -> None:
        save_images = (self.opt.get('val') or {}).get('save_img', False)
        for name, loader in self.val_loaders.items():
            folder = self.folder / 'visualization' / name if save_images else None
            results = self.model.validate(loader, folder, str(self.iteration))
            self.validation[name] = results
            for net, figures in results.items():
                shown = '  '.join(f'{metric} {value:.4f}' for metric, value in figures.items())
                logger.info('%s %d: %s, %s: %s', self.opt['name'], self.iteration, name, net, shown)
            if self.log is not None:
                self.log.record(self.iteration, {'validation': {name: results}})
                for net, figures in results.items():
                    self.log.scalars(self.iteration, f'metrics/{name}/{net}', figures)

    def _save(self, validation_due: bool, networks: bool) -> None:
        """Saves where training stands, and every network's file if ``networks``."""
        distributed.everywhere(self.model.watch.check)
        self.model.synchronise_buffers()
        random = distributed.gather(distributed.random_state())

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
                'model': self.model.training_state(),
                'inputs': self.inputs,
                'history': self.model.history,
                'manifests': self.model.manifests,
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
            logger.info('%s: at most %.2f GiB of GPU memory.', self.opt['name'],
                        torch.cuda.max_memory_allocated() / 2**30)  # fmt: skip
        return StageOutcome(self.total, self.seconds, checkpoints, self.validation, self.model.history)
