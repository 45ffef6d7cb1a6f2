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

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.models import networks, validation
from fsr_plugins.models.compilation import Compilation
from fsr_plugins.models.ema import MovingAverage
from fsr_plugins.models.networks import Net, bare, option_name
from fsr_plugins.models.optim import Schedule, make_optimizers
from fsr_plugins.models.precision import Precision
from fsr_plugins.models.watch import LossWatch
from fsr_plugins.registry import build
from fsr_plugins.threads import one_thread

from basicsr.models.base_model import BaseModel  # isort: skip

logger = logging.getLogger(__name__)


class FSRModel(BaseModel):
    """What every method would otherwise repeat. A method declares its networks and switches and writes its step::

        @MODEL_REGISTRY.register()
        class MyModel(FSRModel):
            networks = {'net_g': Net(result=True), 'net_t': Net(frozen=True)}

            class Train(TrainOptions):
                pixel_opt: Block
                kd_weight: float = 1.0

            def init_losses(self) -> None:
                self.cri_pix = self.build_loss('pixel_opt')

            def step(self) -> None:
                with self.phase('net_g') as losses:
                    sr = self.net_g(self.lq)
                    losses['l_pix'] = self.cri_pix(sr, self.gt)

    Attributes:
        gt: HR batch, NCHW RGB float32 in [0, 1], on the device; None where the data has none.
        lq: LR batch likewise: the data's own, or made from ``gt`` by the option ``degradation``.
        batch: everything else the data holds, images like ``gt``, maps and numbers as they are.
        current_iter: the iteration being trained, from 1.

    It also runs under BasicSR's own ``train_pipeline``, whose names and calls it keeps.
    """

    networks: ClassVar[Mapping[str, Net]] = {}
    Train: ClassVar[type[TrainOptions]] = TrainOptions
    #: Whether the networks under validation give images, of which the experiment's picture is made.
    shows_images: ClassVar[bool] = True
    #: Whether its stage makes a set of images instead of training.
    generates_set: ClassVar[bool] = False

    gt: Tensor | None
    lq: Tensor | None

    def __init__(self, opt: dict[str, Any]) -> None:
        """
        Args:
            opt: a complete stage, as in an option file, with BasicSR's run-time keys.
        Raises:
            UserError: a network, loss or weight file cannot be had.
        """
        super().__init__({**opt, 'num_gpu': 0})  # the device is chosen below: BasicSR takes CUDA unless this is 0
        self.opt = opt
        self.device = _device(opt)
        self.precision = Precision(opt.get('precision', 'fp32'), self.device)
        self.compilation = Compilation(opt.get('compile', False))
        self.watch = LossWatch(self.device)
        self.current_iter = 0
        self.frozen: dict[str, str] = {}
        #: By set, what does not change between validations: the figures of bicubic and of HR itself.
        self.fixed_results: dict[str, validation.Results] = {}
        #: By phase, what the set's stores say of themselves; whoever trains sets it, and checkpoints hold it.
        self.manifests: dict[str, Any] = {}
        self.degradation: nn.Module | None = None
        if opt.get('degradation'):
            self.degradation = build('degradations', opt['degradation']).to(self.device)
        for label, use in self.networks.items():
            setattr(self, label, networks.make_network(label, use, opt, self.device))
        if self.is_train:
            self._init_training()

    # ---- set-up ----------------------------------------------------------------------------------------------------

    def _init_training(self) -> None:
        self.train_opt = self.Train.model_validate(dict(self.opt['train']))
        self.average: dict[str, MovingAverage] = {}
        self.learning: dict[str, list[nn.Parameter]] = {}
        #: Of networks that are trained in part: the other parameters, and what they were at the start.
        self.fixed: dict[str, tuple[list[nn.Parameter], str]] = {}
        for label, net in self.trainable().items():
            net.train()
            self._choose_parameters(label, net)
        pairs = make_optimizers(self.train_opt, self.learning)
        self.optimizers_by_net = {label: optimizer for label, (optimizer, _) in pairs.items()}
        self.optimizers = [optimizer for optimizer, _ in pairs.values()]
        self.schedulers = [scheduler for _, scheduler in pairs.values() if scheduler is not None]
        self.schedule = Schedule(pairs.values())
        self.init_losses()
        # After the losses: a method may have given its networks their beginning there.
        for label, net in self.trainable().items():
            if self.networks[label].result and self.train_opt.ema_decay > 0:
                self.average[label] = MovingAverage(net, self.train_opt.ema_decay)
        for label, use in self.networks.items():
            net = getattr(self, label)
            if net is None:
                continue
            if use.frozen:
                self.frozen[label] = networks.checksum(net)
            self.compilation.apply(label, net, use.twice)
            if self.opt.get('dist') and not use.frozen:
                unused = self.opt.get('find_unused_parameters', False)
                setattr(self, label, networks.distribute(net, self.device, unused))

    def learns(self, label: str, name: str) -> bool:
        """Whether the parameter ``name`` of the network ``label`` is trained; all of them, unless a method says so."""
        return True

    def _choose_parameters(self, label: str, net: nn.Module) -> None:
        chosen = {name: self.learns(label, name) for name, _ in net.named_parameters()}
        self.learning[label] = [parameter for name, parameter in net.named_parameters() if chosen[name]]
        others = [parameter for name, parameter in net.named_parameters() if not chosen[name]]
        for parameter in others:
            parameter.requires_grad_(False)
        if others:
            self.fixed[label] = others, networks.digest(others)

    def init_losses(self) -> None:
        """Builds the method's losses with :meth:`build_loss`; called once, for training only."""
        raise NotImplementedError

    def check_data(self, dataset: Any) -> None:
        """Looks at the training set before the first iteration; for what a step could find out only by waiting.

        Raises:
            UserError: it does not fit the networks.
        """

    def build_loss(self, key: str) -> nn.Module | None:
        """The loss that ``train.<key>`` names, on the device; None where the option file leaves it out."""
        block = getattr(self.train_opt, key)
        return build('losses', block).to(self.device) if block else None

    def trainable(self) -> dict[str, nn.Module]:
        """The networks that learn, without their wrappers."""
        return {
            label: bare(getattr(self, label))
            for label, use in self.networks.items()
            if not use.frozen and getattr(self, label) is not None
        }

    # ---- a step ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One iteration of the method's algorithm on :attr:`gt`, :attr:`lq`, :attr:`batch`, in phases."""
        raise NotImplementedError

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Brings a batch to the device: uint8 NHWC images become float NCHW in [0, 1] there; LR is made there."""
        self.files: list[str] = list(data.get('gt_path') or data.get('lq_path') or [])
        with one_thread(self.device):
            self.batch = {key: self._to_device(value) for key, value in data.items() if isinstance(value, Tensor)}
            self.gt, self.lq = self.batch.get('gt'), self.batch.get('lq')
            if self.lq is None and self.gt is not None and self.degradation is not None:
                with torch.no_grad():
                    self.lq = self.degradation(self.gt, self.batch.get('seed'))

    def _to_device(self, value: Tensor) -> Tensor:
        value = value.to(self.device, non_blocking=True)
        if value.ndim == 4 and value.dtype == torch.uint8:
            layout = torch.channels_last if self.opt.get('channels_last') else torch.contiguous_format
            # Two steps: laying out anew and dividing at once takes one and a half times as long on a CPU.
            return value.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout).div_(255)
        return value

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
            self.precision.update()

    def log(self, name: str, value: Tensor) -> None:
        """Adds a scalar that is not a loss to the log, without waiting for the device."""
        self.watch.last[name] = value.detach().float()

    def get_current_log(self) -> OrderedDict[str, float]:
        """The last value of every loss, averaged over the ranks; waits for the device once."""
        self.watch.check()
        if not self.watch.last:
            return OrderedDict()
        values = torch.stack(list(self.watch.last.values()))
        if self.opt.get('dist'):
            torch.distributed.all_reduce(values)
            values /= torch.distributed.get_world_size()
        return OrderedDict(zip(self.watch.last, values.tolist(), strict=True))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets every optimiser's rate for this iteration."""
        self.schedule.set(current_iter, warmup_iter)

    def get_current_learning_rate(self) -> list[float]:
        """The rate of each optimiser, in the order of :attr:`networks`."""
        return [optimizer.param_groups[0]['lr'] for optimizer in self.optimizers]

    # ---- validation ------------------------------------------------------------------------------------------------

    def evaluated(self, label: str) -> nn.Module:
        """The network that is measured and handed on: the averaged one where there is one."""
        average = getattr(self, 'average', {}).get(label)
        return average.net if average is not None else bare(getattr(self, label))

    @classmethod
    def result_label(cls, opt: Mapping[str, Any]) -> str:
        """The network that is the result of training with these options."""
        return next(label for label, use in cls.networks.items() if use.result and opt.get(option_name(label)))

    @classmethod
    def product_blocks(cls, opt: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The networks that are put together of others when they are saved: by label, the block that builds each."""
        return {}

    def products(self) -> dict[str, nn.Module]:
        """The networks of :meth:`product_blocks`, put together of the present ones."""
        return {}

    def preview(self) -> Tensor | None:
        """A picture of what training is at, (3, H, W) RGB in [0, 1]: written beside every checkpoint; None for none."""
        return None

    def validation_nets(self) -> dict[str, nn.Module]:
        """What validation compares, from LR to SR; ``result`` is the method's own. Bicubic is added by itself."""
        return {'result': self.evaluated(self.result_label(self.opt))}

    def similarities(self) -> dict[str, tuple[str, str]]:
        """What validation compares besides: by name, a network of :meth:`validation_nets` and another one as its HR."""
        return {}

    @classmethod
    def tables(cls, validation: Mapping[str, validation.Results]) -> dict[str, list[dict[str, Any]]]:
        """What the summary shows besides: tables of the method's paper as rows of named cells.

        Args:
            validation: the stage's figures by set, net and metric.
        """
        return {}

    def validate(self, loader: Any, save_to: Path | None = None, suffix: str = '') -> validation.Results:
        """Figures of every network of :meth:`validation_nets` and of bicubic on one set, over all ranks.

        Args:
            loader: batches of ``loader.dataset``, this rank's share or all.
            save_to: folder for the images of ``result``; None for none.
        """
        self.synchronise_buffers()
        with self.compilation.eager():
            return validation.validate(self, loader, save_to, suffix)

    def validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool = False) -> None:
        """BasicSR's call: :meth:`validate`, with the figures written to the log."""
        folder = Path(self.opt['path']['visualization']) / dataloader.dataset.opt['name'] if save_img else None
        results = self.validate(dataloader, folder, str(current_iter))
        for net, figures in results.items():
            logger.info('%s %s: %s', dataloader.dataset.opt['name'], net, figures)
            for metric, value in figures.items() if tb_logger else ():
                tb_logger.add_scalar(f'metrics/{dataloader.dataset.opt["name"]}/{net}/{metric}', value, current_iter)

    def synchronise_buffers(self) -> None:
        """Gives every rank the buffers (BN statistics) of rank 0."""
        if self.is_train and self.opt.get('dist'):
            for net in self.trainable().values():
                for buffer in net.buffers():
                    torch.distributed.broadcast(buffer, 0)

    # ---- saving ----------------------------------------------------------------------------------------------------

    def save(self, epoch: int, current_iter: int) -> None:
        """Writes every trained network's file, and the training state unless this is the end (``current_iter`` −1)."""
        self.watch.check()
        self.synchronise_buffers()
        self.save_networks('latest' if current_iter == -1 else str(current_iter))
        self.save_training_state(epoch, current_iter)

    def save_networks(self, suffix: str) -> dict[str, Path]:
        """Writes ``<net>_<suffix>.pth`` for every network that learns, on rank 0; returns the files by network."""
        files = {label: Path(self.opt['path']['models']) / f'{label}_{suffix}.pth' for label in self.trainable()}
        for label, net in self.trainable().items() if self.opt.get('rank', 0) == 0 else ():
            nets = {'params': net}
            if label in self.average:
                nets['params_ema'] = self.average[label].net
            meta = describe(self.opt, label, self.opt[option_name(label)], self.current_iter, self.manifests)
            save_network(files[label], nets, meta)
        return files | self._save_products(suffix)

    def _save_products(self, suffix: str) -> dict[str, Path]:
        """The same for :meth:`products`, but only at the end: they hold nothing that the others do not."""
        if suffix != 'latest':
            return {}
        products, blocks, files = self.products(), self.product_blocks(self.opt), {}
        for label, net in products.items():
            files[label] = Path(self.opt['path']['models']) / f'{label}_{suffix}.pth'
            if self.opt.get('rank', 0) == 0:
                meta = describe(self.opt, label, blocks[label], self.current_iter, self.manifests)
                save_network(files[label], {'params': net}, meta)
        return files

    def training_state(self) -> dict[str, Any]:
        """Everything that training changes here, by reference: weights, averages, optimisers, schedules, scaler."""
        return {
            'nets': {label: net.state_dict() for label, net in self.trainable().items()},
            'averages': {label: average.net.state_dict() for label, average in self.average.items()},
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'scaler': self.precision.scaler.state_dict(),
            'log': self.watch.last,
        }

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Puts :meth:`training_state` back."""
        for label, net in self.trainable().items():
            net.load_state_dict(state['nets'][label])
        for label, average in self.average.items():
            average.net.load_state_dict(state['averages'][label])
        for optimizer, saved in zip(self.optimizers, state['optimizers'], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state['schedulers'], strict=True):
            scheduler.load_state_dict(saved)
        self.precision.scaler.load_state_dict(state['scaler'])
        self.watch.last = {name: value.to(self.device) for name, value in state['log'].items()}

    def assert_frozen_unchanged(self) -> None:
        """Compares every frozen network with what it was at the start.

        Raises:
            RunError: one was changed.
        """
        for label, before in self.frozen.items():
            networks.assert_unchanged(f'The frozen network {label}', networks.checksum(getattr(self, label)), before)
        for label, (parameters, before) in self.fixed.items():
            networks.assert_unchanged(f'What is not trained of {label}', networks.digest(parameters), before)


def _device(opt: Mapping[str, Any]) -> torch.device:
    if opt.get('num_gpu') == 0 or not torch.cuda.is_available():
        return torch.device('cpu')
    return torch.device('cuda', torch.cuda.current_device())
