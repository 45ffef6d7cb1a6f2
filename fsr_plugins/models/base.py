"""The base of every method: all that a training step needs besides the method's own algorithm."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.config.options import TrainOptions, read_train
from fsr_plugins.config.settings import option_name
from fsr_plugins.data.batches import Samples
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.errors import UserError
from fsr_plugins.models import legacy, networks
from fsr_plugins.models.compilation import Compilation
from fsr_plugins.models.ema import MovingAverage
from fsr_plugins.models.evaluation import Results
from fsr_plugins.models.losses import Losses
from fsr_plugins.models.networks import bare
from fsr_plugins.models.optim import Schedule, alike, fits_parameters, make_optimizers, needs_of
from fsr_plugins.models.saved_model import SavedModel
from fsr_plugins.models.strategies import Evaluation, SuperResolution
from fsr_plugins.values import Options, State

logger = logging.getLogger(__name__)


class FSRModel(legacy.Version01, SavedModel):
    """What every method would otherwise repeat. A method declares its networks, losses and switches, writes its step::

        @MODEL_REGISTRY.register()
        class MyModel(FSRModel):
            networks = {'net_g': Net(result=True), 'net_t': Net(frozen=True)}

            class Train(TrainOptions):
                pixel_opt: Loss = Loss.required('L1 to HR')
                kd_weight: float = 1.0

            train_opt: Train

            def step(self) -> None:
                with self.phase('net_g') as losses:
                    sr = self.net_g(self.lq)
                    losses['l_pix'] = self.losses.pixel_opt(sr, self.gt)

    Attributes:
        train_opt: the block ``train`` as options.
        losses: the losses that it gives; empty while testing.

    It also runs under BasicSR's own ``train_pipeline``, whose names and calls it keeps.
    """

    Train: ClassVar[type[TrainOptions]] = TrainOptions
    #: How its networks are validated.
    evaluation: ClassVar[Evaluation[Any]] = SuperResolution()

    train_opt: TrainOptions

    def __init__(self, opt: Options) -> None:
        """
        Args:
            opt: a complete stage, as in an option file, with BasicSR's run-time keys.

        Raises:
            UserError: a network, loss or weight file is not available, or options do not fit together.
        """
        super().__init__(opt)
        self.train_opt = read_train(self.Train, self.options.train)
        self.compilation = Compilation(self.options.compile)
        self.fixed_results: dict[str, Results] = {}
        self.losses = Losses(TrainOptions.model_construct(), self.device)
        if self.is_train:
            self._init_training()

    # ---- set-up ----------------------------------------------------------------------------------------------------

    def _init_training(self) -> None:
        self.learning: dict[str, list[nn.Parameter]] = {}
        for label, net in self.trainable().items():
            if self.networks[label].solved:
                continue
            net.train()
            chosen = {name: self.is_trainable(label, name) for name, _ in net.named_parameters()}
            self.learning[label] = [parameter for name, parameter in net.named_parameters() if chosen[name]]
            others = [parameter for name, parameter in net.named_parameters() if not chosen[name]]
            for parameter in others:
                parameter.requires_grad_(False)
            if others:
                self.fixed[label] = others, networks.digest(others)
        pairs = make_optimizers(self.train_opt, self.learning)
        self._take_optimizers(pairs, Schedule(pairs.values()))
        for label, reason in self.train_opt.required_networks().items():
            if getattr(self, label) is None:
                raise UserError(
                    f"This training has {reason}: it needs a block '{option_name(label)}' in the option file."
                )
        self.losses = Losses(self.train_opt, self.device)
        legacy.init_losses(self)
        self.prepare_training()
        # After the method's own: it may have given its networks their beginning there.
        for label, net in self.trainable().items():
            if self.networks[label].result and self.train_opt.ema_decay > 0:
                self.average[label] = MovingAverage(net, self.train_opt.ema_decay)
        for label, use in self.networks.items():
            net = getattr(self, label)
            if net is None:
                continue
            if use.frozen:
                self.frozen[label] = networks.checksum(net)
            self.compilation.apply(label, net, use.double_backward)
            if self.options.dist and not use.frozen:
                unused = self.options.find_unused_parameters
                setattr(self, label, networks.distribute(net, self.device, unused))

    def is_trainable(self, label: str, name: str) -> bool:
        """Whether the parameter ``name`` of the network ``label`` is trained; all of them, unless a method says so."""
        return True

    def prepare_training(self) -> None:
        """What a method does once before training, when its networks and losses are there.

        Raises:
            UserError: options and networks do not fit together.
        """

    def check_data(self, dataset: Samples) -> None:
        """Looks at the training set before the first iteration; for what a step could find out only by waiting.

        Raises:
            UserError: it does not fit the networks.
        """

    # ---- a step ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One iteration of the method's algorithm on :attr:`gt`, :attr:`lq`, :attr:`batch`, in phases."""
        raise NotImplementedError

    def trial_iteration(self) -> int:
        """The iteration that is tried before training: one in which everything learns that ever does, with a step."""
        return self.train_opt.accumulate

    def optimize_parameters(self, current_iter: int) -> None:
        """Trains one iteration on what :meth:`feed_data` brought.

        Raises:
            RunError: a loss is NaN or Inf.
        """
        if self._at_boundary():
            self.compilation.begin_step()
        self.current_iter = current_iter
        self.step()
        if self._at_boundary():
            self.precision.update()
            for label, average in self.average.items():
                average.update(bare(getattr(self, label)))

    def _at_boundary(self) -> bool:
        return self.current_iter % self.train_opt.accumulate == 0

    @contextmanager
    def phase(self, *labels: str) -> Iterator[dict[str, Tensor]]:
        """Trains the named networks, and only them, with the sum of the losses put into the dict it gives.

        Forward passes go inside: they run in the chosen precision. On leaving: NaN check, backward pass, and, every
        ``train.accumulate`` iterations, clipping and the optimisers' steps. Names of absent networks are passed over.
        """
        nets = {label: getattr(self, label) for label in labels if getattr(self, label) is not None}
        for label, parameters in self.learning.items():
            for parameter in parameters:
                parameter.requires_grad_(label in nets)
        losses: dict[str, Tensor] = {}
        with ExitStack() as stack:
            if not self._at_boundary():
                for net in nets.values():
                    if isinstance(net, DistributedDataParallel):
                        stack.enter_context(net.no_sync())
            with self.precision.autocast():
                yield losses
            if not losses:
                return
            self.watch.add(self.current_iter, losses, self.files)
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            self.precision.backward(total / self.train_opt.accumulate)
        if self._at_boundary():
            for label in nets:
                self.precision.step(self.optimizers_by_net[label], self.train_opt.clip_grad_norm)
                self.optimizers_by_net[label].zero_grad(set_to_none=True)

    def log(self, name: str, value: Tensor) -> None:
        """Adds a scalar that is not a loss to the log, without waiting for the device."""
        self.watch.last[name] = value.detach().float()

    def _take_optimizers(self, pairs: Mapping[str, tuple[Optimizer, LRScheduler | None]], schedule: Schedule) -> None:
        self.schedule = schedule
        self.optimizers_by_net = {label: optimizer for label, (optimizer, _) in pairs.items()}
        self.optimizers = [optimizer for optimizer, _ in pairs.values()]
        self.schedulers = [scheduler for _, scheduler in pairs.values() if scheduler is not None]

    def get_current_log(self) -> OrderedDict[str, float]:
        """The last value of every loss, averaged over the ranks; waits for the device once."""
        self.watch.check()
        if not self.watch.last:
            return OrderedDict()
        values = torch.stack(list(self.watch.last.values()))
        if self.options.dist:
            torch.distributed.all_reduce(values)
            values /= torch.distributed.get_world_size()
        return OrderedDict(zip(self.watch.last, values.tolist(), strict=True))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets every optimiser's rate for this iteration."""
        self.schedule.set(current_iter, warmup_iter)

    def renew_optimizers(self, iteration: int, state: State) -> list[str]:
        """Makes the optimisers as the options say for an iteration, with the moments of a training state.

        For options that have changed since the state was saved.

        Returns:
            a line for each optimiser whose moments are not such as it needs: it begins anew.
        """
        pairs = make_optimizers(self.train_opt, self.learning)
        schedule = Schedule(pairs.values())
        for step in range(1, iteration + 1):
            schedule.set(step, self.train_opt.warmup_iter)
        lines = []
        saved = dict(zip(pairs, state['optimizers'], strict=False))
        for label, (optimizer, _) in pairs.items():
            moments = saved.get(label, {}).get('state')
            if not moments:
                continue
            kept = {key for each in moments.values() for key in each}
            if fits_parameters(optimizer, moments) and kept == needs_of(optimizer):
                optimizer.load_state_dict({**optimizer.state_dict(), 'state': moments})
            else:
                lines.append(f'the moments of the optimiser of {label} began anew')
        if alike(self.precision.scaler.state_dict(), state['scaler']):
            self.precision.scaler.load_state_dict(state['scaler'])
        self._take_optimizers(pairs, schedule)
        return lines

    # ---- validation ------------------------------------------------------------------------------------------------

    def validate(self, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """Figures on one dataset, over all ranks, as the model's :attr:`evaluation` takes them.

        Args:
            loader: batches of ``loader.dataset``, this rank's share or all.
            save_to: folder for the images of ``result``; None for none.
        """
        self.synchronise_buffers()
        with self.compilation.eager():
            return self.evaluation.validate(self, loader, save_to, suffix)

    def validation(self, dataloader: EvalLoader, current_iter: int, tb_logger: Any, save_img: bool = False) -> None:
        """BasicSR's call: :meth:`validate`, with the figures written to the log."""
        name = dataloader.dataset.opt['name']
        folder = Path(self.options.path['visualization']) / name if save_img else None
        results = self.validate(dataloader, folder, str(current_iter))
        for net, figures in results.items():
            logger.info('%s %s: %s', name, net, figures)
            for metric, value in figures.items() if tb_logger else ():
                tb_logger.add_scalar(f'metrics/{name}/{net}/{metric}', value, current_iter)
