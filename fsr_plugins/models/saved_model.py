"""What a model in training is handed on as: its result, its network files, its training state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.checkpoints import PARAMS, PARAMS_EMA, describe, differences, network_file, save_network
from fsr_plugins.checkpoints.tensors import all_finite
from fsr_plugins.config.inputs import Change
from fsr_plugins.config.settings import option_name
from fsr_plugins.errors import UserError
from fsr_plugins.models import networks
from fsr_plugins.models.ema import MovingAverage
from fsr_plugins.models.networks import bare
from fsr_plugins.models.optim import alike, fits_parameters
from fsr_plugins.models.stage_model import StageModel
from fsr_plugins.models.watch import LossWatch, NotFinite
from fsr_plugins.values import Options, Record, State


class SavedModel(StageModel):
    """Says which network is the result, writes network files, and gives and takes training states.

    Attributes:
        current_iter: the iteration being trained, from 1.
        average: moving averages by network.
        manifests: by phase, what the stores of each dataset say of themselves; the training sets it; checkpoints
            hold it.
        history: what was changed while it was being trained, and accepted; checkpoints hold it.
    """

    optimizers: list[Optimizer]
    schedulers: list[LRScheduler]

    def __init__(self, opt: Options) -> None:
        super().__init__(opt)
        self.watch = LossWatch(self.device)
        self.current_iter = 0
        self.average: dict[str, MovingAverage] = {}
        self.manifests: Record = {}
        self.history: list[Change] = []
        #: Whether a training state's optimisers, schedules and scaler are put back; else see ``renew_optimizers``.
        self.keeps_optimizers = True
        #: The checksum of each frozen network at the start.
        self.frozen: dict[str, str] = {}
        #: Of networks that are trained in part: the other parameters, and their checksum at the start.
        self.fixed: dict[str, tuple[list[nn.Parameter], str]] = {}

    def evaluated(self, label: str) -> nn.Module:
        """The network that is measured and handed on: the averaged one where there is one."""
        average = self.average.get(label)
        return average.net if average is not None else bare(getattr(self, label))

    @classmethod
    def result_label(cls, opt: Options) -> str:
        """The network that is the result of training with these options."""
        return next(label for label, use in cls.networks.items() if use.result and opt.get(option_name(label)))

    def composites(self) -> dict[str, nn.Module]:
        """The networks of :meth:`composite_blocks`, put together of the present ones."""
        return {}

    def get_current_learning_rate(self) -> list[float]:
        """The rate of each optimiser, in the order of :attr:`optimizers`."""
        return [optimizer.param_groups[0]['lr'] for optimizer in self.optimizers]

    def preview(self) -> Tensor | None:
        """A picture of what training is at, (3, H, W) RGB in [0, 1]: written beside every checkpoint; None for none."""
        return None

    def synchronise_buffers(self) -> None:
        """Gives every rank the buffers (BN statistics) of rank 0."""
        if self.is_train and self.options.dist:
            for net in self.trainable().values():
                for buffer in net.buffers():
                    torch.distributed.broadcast(buffer, 0)

    def save(self, epoch: int, current_iter: int) -> None:
        """Writes every trained network's file, and the training state unless this is the end (``current_iter`` −1)."""
        self.watch.check()
        self.synchronise_buffers()
        self.save_networks('latest' if current_iter == -1 else str(current_iter))
        self.save_training_state(epoch, current_iter)

    def save_networks(self, suffix: str) -> dict[str, Path]:
        """Writes ``<net>_<suffix>.pth`` for every network that learns, on rank 0; returns the files by network.

        Composites are written at the end only (``latest``): they hold nothing that the others do not.

        Raises:
            NotFinite: a weight is NaN or Inf; nothing was written.
            RunError: a file cannot be written.
        """
        self.assert_finite()
        nets = self.trainable()
        blocks = {label: self.options.network(label).block or {} for label in nets}
        if suffix == 'latest':
            nets, blocks = nets | self.composites(), blocks | self.composite_blocks(self.opt)
        training = self.options.training(self.manifests, self.history)
        files = {label: network_file(Path(self.options.path['models']), label, suffix) for label in nets}
        for label, net in nets.items() if self.options.rank == 0 else ():
            weights = {PARAMS: net} | ({PARAMS_EMA: self.average[label].net} if label in self.average else {})
            meta = describe(label, blocks[label], self.current_iter, training)
            save_network(files[label], weights, meta)
        return files

    def assert_finite(self) -> None:
        """Looks at every weight of the networks that learn, and of their averages.

        Raises:
            NotFinite: one is NaN or Inf; the network is named.
        """
        nets = {label: [*net.state_dict().values()] for label, net in self.trainable().items()}
        nets |= {f'the average of {label}': [*average.net.state_dict().values()]
                 for label, average in self.average.items()}  # fmt: skip
        if all_finite(tensor for tensors in nets.values() for tensor in tensors):
            return
        wrong = ', '.join(name for name, tensors in nets.items() if not all_finite(tensors))
        raise NotFinite(
            f'After iteration {self.current_iter} weights of {wrong} are NaN or Inf; they were not saved. Training '
            'stopped. Lower the learning rate or clip the gradients (train.clip_grad_norm).'
        )

    def training_state(self) -> State:
        """Everything that training changes here, by reference: weights, averages, optimisers, schedules, scaler."""
        return {
            'nets': {label: net.state_dict() for label, net in self.trainable().items()},
            'averages': {label: average.net.state_dict() for label, average in self.average.items()},
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'scaler': self.precision.scaler.state_dict(),
            'log': self.watch.last,
        }

    def check_training_state(self, state: State) -> None:
        """Looks whether :meth:`load_training_state` can put a state back, and changes nothing.

        Raises:
            UserError: other networks, weights of other shapes, or another number of optimisers.
        """
        for label, net in self.trainable().items():
            theirs = {'nets': net, **({'averages': self.average[label].net} if label in self.average else {})}
            for part, module in theirs.items():
                if different := differences(module, state[part].get(label, {})):
                    more = f'; and {len(different) - 1} more' if len(different) > 1 else ''
                    raise UserError(f"its {part} '{label}' do not fit ({different[0]}{more})")
        self._check_optimizers(state)

    def _check_optimizers(self, state: State) -> None:
        if not self.keeps_optimizers:
            return
        parts: dict[str, Sequence[Optimizer | LRScheduler]] = {
            'optimizers': self.optimizers,
            'schedulers': self.schedulers,
        }
        for part, things in parts.items():
            if len(state[part]) != len(things):
                raise UserError(f'it has {len(state[part])} {part}, the stage has {len(things)}')
            for thing, saved in zip(things, state[part], strict=True):
                if not alike(_without_state(thing.state_dict()), _without_state(saved)):
                    raise UserError(f'its {part} are damaged, or of other classes')
        if not alike(self.precision.scaler.state_dict(), state['scaler']):
            raise UserError('its scaler is damaged')
        for optimizer, saved in zip(self.optimizers, state['optimizers'], strict=True):
            if not fits_parameters(optimizer, saved.get('state')):
                raise UserError('its optimizers are damaged, or of other networks')

    def load_training_state(self, state: State) -> None:
        """Puts :meth:`training_state` back."""
        for label, net in self.trainable().items():
            net.load_state_dict(state['nets'][label])
        for label, average in self.average.items():
            average.net.load_state_dict(state['averages'][label])
        self._load_optimizers(state)

    def _load_optimizers(self, state: State) -> None:
        if self.keeps_optimizers:
            for optimizer, saved in zip(self.optimizers, state['optimizers'], strict=True):
                optimizer.load_state_dict(saved)
            for scheduler, saved in zip(self.schedulers, state['schedulers'], strict=True):
                scheduler.load_state_dict(saved)
            self.precision.scaler.load_state_dict(state['scaler'])
        self.watch.last = {name: value.to(self.device) for name, value in state['log'].items()}

    def own_state(self) -> State:
        """What each process has for itself besides random states: queues of a hosted model. Here nothing."""
        return {}

    def load_own_state(self, state: State) -> None:
        """Puts :meth:`own_state` back."""

    def assert_frozen_unchanged(self) -> None:
        """Compares every frozen network with what it was at the start.

        Raises:
            RunError: one was changed.
        """
        for label, before in self.frozen.items():
            networks.assert_unchanged(f'The frozen network {label}', networks.checksum(getattr(self, label)), before)
        for label, (parameters, before) in self.fixed.items():
            networks.assert_unchanged(f'What is not trained of {label}', networks.digest(parameters), before)


def _without_state(saved: State) -> State:
    return {key: value for key, value in saved.items() if key != 'state'}
