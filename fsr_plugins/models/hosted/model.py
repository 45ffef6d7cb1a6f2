"""Any class derived from BasicSR's ``BaseModel``, in this engine: one adaptor."""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.checkpoints import describe, differences, network_file, save_network, write_weights
from fsr_plugins.config.options import TrainOptions, read_train
from fsr_plugins.config.settings import option_name
from fsr_plugins.errors import UserError
from fsr_plugins.models.evaluation import Results
from fsr_plugins.models.hosted import attributes
from fsr_plugins.models.hosted.interception import intercepted, quieten
from fsr_plugins.models.hosted.validation import Figures, OwnValidation, unaccompanied
from fsr_plugins.models.networks import Net, bare
from fsr_plugins.models.optim import Schedule, fits_parameters
from fsr_plugins.models.saved_model import SavedModel
from fsr_plugins.models.stage_model import StageModel
from fsr_plugins.registry import ADAPTORS
from fsr_plugins.values import Batch, Options, State
from fsr_plugins.without_cuda import cuda_stays_on

from basicsr.models.base_model import BaseModel  # isort: skip

logger = logging.getLogger(__name__)


class HostedModel(SavedModel):
    """Runs a model of :attr:`hosts` as it is: its ``feed_data``, ``optimize_parameters`` and ``validation``.

    The engine keeps and puts back all that the model has in its attributes: networks, optimisers, schedulers, tensors,
    numbers, generators. A plain value that it was given by options that have changed since follows these. Files of
    networks are those that its ``save`` names; ``checkpoints`` writes them.

    Attributes:
        hosts: the class.
        model: the model of it.
    """

    hosts: ClassVar[type[BaseModel]]
    evaluation = OwnValidation()

    class Train(TrainOptions):
        """The model reads more of ``train`` by itself."""

    def __init__(self, opt: Options) -> None:
        """
        Args:
            opt: a complete stage, as in an option file, with BasicSR's run-time keys.

        Raises:
            UserError: weights are not available.
        """
        super().__init__(opt)
        self.train_opt = read_train(self.Train, self.options.train)
        quieten(self.options.rank)
        own = copy.deepcopy(opt)
        own['num_gpu'] = 0 if self.device.type == 'cpu' else 1
        if isinstance(own.get('val'), dict):
            own['val'] = {'metrics': None, 'suffix': None, **own['val']}
        with cuda_stays_on(self.device):
            self.model = intercepted(self.hosts, own)
        self.schedule: Schedule | None = None
        self.made: State = {}
        if self.is_train:
            self._find_optimizers()
            self.made = attributes.settings(self.model)

    # ---- what it consists of ---------------------------------------------------------------------------------------

    @classmethod
    def declared_networks(cls, opt: Options) -> dict[str, Net]:
        """See :class:`StageModel`: those of the option file; the result is the first of them, or ``net_g``."""
        labels = [
            'net_' + key.removeprefix('network_') for key, block in opt.items() if key.startswith('network_') and block
        ]
        result = 'net_g' if 'net_g' in labels or not labels else labels[0]
        optimised = opt.get('train') or {}
        return {
            label: Net(
                result=label == result,
                optional=True,
                train_only=label != result,
                # What has no block of an optimiser may have one all the same.
                solved='optim_' + label.removeprefix('net_') not in optimised,
            )
            for label in labels
        }

    def _find_optimizers(self) -> None:
        found = attributes.stateful(self.model).values()
        self.optimizers = [each for each in found if isinstance(each, Optimizer)]
        self.schedulers = [each for each in found if isinstance(each, LRScheduler)]
        by_optimizer = {id(each.optimizer): each for each in self.schedulers}
        plain = type(self.model).update_learning_rate is BaseModel.update_learning_rate
        if plain and len(by_optimizer) == len(self.schedulers):
            # BasicSR's own warm-up leaves the rate at (n - 1) / n for ever.
            self.schedule = Schedule([(each, by_optimizer.get(id(each))) for each in self.optimizers])
        lost = attributes.take(self.model, set())[1]
        if lost:
            logger.warning(
                '%s keeps %s, which a resumed training cannot put back: it may differ from one that was never stopped.',
                self.hosts.__name__, ', '.join(lost),
            )  # fmt: skip

    def modules(self) -> dict[str, nn.Module]:
        """Every network and loss among the model's attributes, without wrappers, by its place."""
        found = attributes.stateful(self.model).items()
        return {place: bare(each) for place, each in found if isinstance(each, nn.Module)}

    def trainable(self) -> dict[str, nn.Module]:
        """See :class:`StageModel`: the modules of which an optimiser has a parameter."""
        learning = {id(p) for each in self.optimizers for group in each.param_groups for p in group['params']}
        return {
            place: module
            for place, module in self.modules().items()
            if any(id(parameter) in learning for parameter in module.parameters())
        }

    # ---- a step ----------------------------------------------------------------------------------------------------

    def feed_data(self, data: Batch) -> None:
        """Hands a batch to the model; images of the toolkit's own sets as it knows them: NCHW float32 in [0, 1]."""
        self.files = list(data.get('gt_path') or data.get('lq_path') or [])
        with cuda_stays_on(self.device):
            self.model.feed_data({key: _as_floats(value) for key, value in data.items()})

    def check_data(self, dataset: object) -> None:
        """Nothing is known of what the model needs; see :class:`FSRModel`."""

    def optimize_parameters(self, current_iter: int) -> None:
        """Trains one iteration.

        Raises:
            RunError: a loss that the model logs is NaN or Inf.
        """
        self.current_iter = current_iter
        with cuda_stays_on(self.device):
            self.model.optimize_parameters(current_iter)
        logged = getattr(self.model, 'log_dict', None) or {}
        self.watch.last = {}
        self.watch.add(current_iter, {name: torch.as_tensor(value) for name, value in logged.items()}, self.files)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """See :class:`FSRModel`; by the model itself if it has a way of its own."""
        if self.schedule is not None:
            self.schedule.set(current_iter, warmup_iter)
        else:
            self.model.update_learning_rate(current_iter, warmup_iter=warmup_iter)

    def get_current_log(self) -> OrderedDict[str, float]:
        """The losses that the model has logged last."""
        self.watch.check()
        return OrderedDict((name, value.item()) for name, value in self.watch.last.items())

    def validate(self, loader: Any, save_to: Path | None = None, suffix: str = '') -> Results:
        """The model's own validation on one set, ``{'result': {metric: value}}``.

        Args:
            loader: BasicSR's, one sample after the other.
            save_to: whether images are written; the model itself says where in its folder.
            suffix: at the end of their names, in testing.
        """
        figures = Figures(loader.dataset.opt['name'])
        if isinstance(self.model.opt.get('val'), dict) and not self.is_train:
            self.model.opt['val']['suffix'] = suffix
        with cuda_stays_on(self.device), unaccompanied(attributes.stateful(self.model).values()):
            self.model.validation(loader, self.current_iter, figures, save_to is not None)
        return {'result': figures.found}

    # ---- what is kept ----------------------------------------------------------------------------------------------

    def save_networks(self, suffix: str) -> dict[str, Path]:
        """See :class:`SavedModel`: the files that the model's ``save`` names."""
        self.assert_finite()
        noted = self.named_networks(-1 if suffix == 'latest' else self.current_iter)
        training = self.options.training(self.manifests, self.history)
        files = {label: network_file(Path(self.options.path['models']), label, suffix) for label in noted}
        for label, nets in noted.items() if self.options.rank == 0 else ():
            block = self.options.network(label).block
            if block is not None:
                save_network(files[label], nets, describe(label, block, self.current_iter, training))
            else:
                write_weights(files[label], {key: _on_cpu(net) for key, net in nets.items()})
        return files

    def named_networks(self, iteration: int) -> dict[str, dict[str, nn.Module]]:
        """What the model saves, by label and by the key of the weights.

        Raises:
            UserError: the result is not among it.
        """
        self.model.noted = {}
        self.model.save(0, iteration)
        result = self.result_label(self.opt)
        if result not in self.model.noted:
            raise UserError(
                f'{self.hosts.__name__} saves {", ".join(self.model.noted) or "nothing"}, and not its result '
                f"'{result}' ('{option_name(result)}'): name it so in its 'save'."
            )
        return self.model.noted

    @classmethod
    def result_label(cls, opt: Options) -> str:
        """See :class:`SavedModel`."""
        declared = cls.declared_networks(opt).items()
        return next((label for label, use in declared if use.result), 'net_g')

    def training_state(self) -> State:
        """See :class:`SavedModel`: all modules, optimisers and schedulers, by reference."""
        return {
            'nets': {place: module.state_dict() for place, module in self.modules().items()},
            'averages': {},
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'scaler': self.precision.scaler.state_dict(),
            'log': self.watch.last,
        }

    def own_state(self) -> State:
        """See :class:`SavedModel`: attributes, what else keeps a state, and which parameters learn."""
        return attributes.own_state(self.model, self.modules(), self.made)

    def load_own_state(self, state: State) -> None:
        """See :class:`SavedModel`."""
        attributes.load_own_state(self.model, self.modules, state, self.device, self.made)

    def check_training_state(self, state: State) -> None:
        """See :class:`SavedModel`."""
        self._check_nets(state)
        self._check_optimizers(state)

    def _check_nets(self, state: State) -> None:
        modules = self.modules()
        if missing := [place for place in modules if place not in state['nets']]:
            raise UserError(f"it has no '{missing[0]}'")
        for place, module in modules.items():
            if different := differences(module, state['nets'][place]):
                raise UserError(f"its '{place}' does not fit ({different[0]})")

    def load_training_state(self, state: State) -> None:
        """See :class:`SavedModel`."""
        for place, module in self.modules().items():
            module.load_state_dict(state['nets'][place])
        self._load_optimizers(state)

    def renew_optimizers(self, iteration: int, state: State) -> list[str]:
        """See :class:`FSRModel`: rates as the options say for an iteration, moments where they fit."""
        for step in range(1, iteration + 1):
            self.update_learning_rate(step, self.train_opt.warmup_iter)
        lines = []
        for number, (optimizer, saved) in enumerate(zip(self.optimizers, state['optimizers'], strict=False)):
            ours, moments = optimizer.state_dict(), saved.get('state')
            fits = len(ours['param_groups']) == len(saved.get('param_groups', ())) and fits_parameters(
                optimizer, moments
            )
            if moments and fits:
                optimizer.load_state_dict({**ours, 'state': moments})
            elif moments:
                lines.append(f'the moments of optimiser {number + 1} began anew')
        return lines


def _as_floats(value: object) -> object:
    if isinstance(value, Tensor) and value.ndim == 4 and value.dtype == torch.uint8:
        return value.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    return value


def _on_cpu(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()}


@cache
def hosted(cls: type[object]) -> type[object]:
    """The class that runs models of ``cls`` here: itself if it is of this toolkit, else an adaptor of its name."""
    if not isinstance(cls, type) or issubclass(cls, StageModel) or not issubclass(cls, BaseModel):
        return cls
    about = {'hosts': cls, '__doc__': cls.__doc__, '__module__': cls.__module__}
    return type(cls.__name__, (HostedModel,), about)


ADAPTORS['models'] = hosted
