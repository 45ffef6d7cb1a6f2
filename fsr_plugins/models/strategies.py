"""How the networks of a model are validated: what is compared, how a batch is measured, what the summary shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from inspect import signature
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from fsr_plugins.config.settings import StageSettings
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import size_of
from fsr_plugins.models import legacy
from fsr_plugins.models.evaluation import HR, Network, Results, SetEvaluation, build_metrics, quantise, write_images
from fsr_plugins.models.networks import evaluating
from fsr_plugins.registry import lookup
from fsr_plugins.values import Batch, Block, Options, Record

#: Rows of named cells, as the tables of a paper have them.
Table = list[Record]
#: The views of a dataset that metrics are told of.
_VIEWS = ('landmarks', 'identity')
#: The seed of the z that generated faces are made of.
_SEED = 0


class Autocast(Protocol):
    """What evaluation needs of a model's precision."""

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run."""
        ...


class Evaluated(Protocol):
    """What evaluation needs of a model; :class:`~fsr_plugins.models.FSRModel` has it."""

    opt: Options
    options: StageSettings
    precision: Autocast
    gt: Tensor | None
    lq: Tensor | None
    batch: dict[str, Tensor]
    files: list[str]
    #: By dataset, what does not change between validations: the figures of bicubic and of HR itself.
    fixed_results: dict[str, Results]

    def feed_data(self, data: Batch) -> None:
        """Brings a batch to the device."""

    def evaluated(self, label: str) -> nn.Module:
        """The network that is measured and handed on."""
        ...

    def result_label(self, opt: Options) -> str:
        """The network that is the result."""
        ...


class MakesFaces(Evaluated, Protocol):
    """A model whose result makes faces of random numbers."""

    def faces(self, num: int, generator: torch.Generator) -> Tensor:
        """``num`` faces, (num, 3, H, W) RGB."""
        ...


ModelT = TypeVar('ModelT', bound=Evaluated, contravariant=True)


class Evaluation(ABC, Generic[ModelT]):
    """A strategy of validation; a model class names one as ``evaluation``."""

    #: Whether the networks give images, of which the experiment's picture is made.
    shows_images: ClassVar[bool] = False
    #: Why a stage cannot be validated at all; the options are checked by it.
    refusal: str | None = None
    #: Whether what is measured is made of the set's images, each of one; metrics that compare them need it.
    has_pairs: ClassVar[bool] = True

    @abstractmethod
    def validate(self, model: ModelT, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """Figures on one dataset, over all ranks.

        Args:
            loader: batches of ``loader.dataset``, this rank's share or all.
            save_to: folder for the images of ``result``; None for none.
            suffix: at the end of their names.
        """

    def networks(self, model: ModelT) -> dict[str, nn.Module]:
        """What is compared, from LR to SR; ``result`` is the method's own. Bicubic is added by itself."""
        return {}

    def conventions(self, metrics: Mapping[str, Block]) -> dict[str, str]:
        """How the figures of ``val.metrics`` are taken, by metric."""
        return {name: metric.convention for name, metric in build_metrics(metrics).items()}

    def tables(self, validation: Mapping[str, Results]) -> dict[str, Table]:
        """What the summary shows besides: tables of the method's paper.

        Args:
            validation: the stage's figures by dataset, network and metric.
        """
        return {}


def lq_of(model: Evaluated, batch: Batch, name: str) -> Tensor:
    """Feeds a batch of the dataset ``name`` to the model and gives its LR images.

    Raises:
        UserError: there are none, and nothing that makes them.
    """
    model.feed_data(batch)
    if model.lq is None:
        raise UserError(f"The set '{name}' has no LR images and the option file has no 'degradation'.")
    return model.lq


def meta_of(model: Evaluated) -> Record:
    """What metrics learn of the batch fed last besides its images: ``keys``, and the views that its dataset has."""
    return {'keys': model.files, **{view: model.batch[view] for view in _VIEWS if view in model.batch}}


def check_enlargement(label: str, sr: Tensor, lq: Tensor, scale: int) -> None:
    """Compares the size of what a network makes with that of its LR.

    Raises:
        UserError: it is not ``scale`` times as large.
    """
    if sr.shape[-2:] != (scale * lq.shape[-2], scale * lq.shape[-1]):
        raise UserError(
            f"The network '{label}' makes {size_of(sr)} of {size_of(lq)}, and 'scale' is {scale}: set the scale of the "
            'network, of the stage and of the degradation alike.'
        )


class SuperResolution(Evaluation[ModelT]):
    """Networks from LR to SR are compared with HR, beside bicubic enlargement."""

    shows_images = True

    def networks(self, model: ModelT) -> dict[str, nn.Module]:
        """The result alone; a method that compares more overrides it."""
        overridden = legacy.validation_nets(model)
        return {'result': model.evaluated(model.result_label(model.opt))} if overridden is None else overridden

    def comparisons(self, model: ModelT) -> dict[str, tuple[str, str]]:
        """What is compared besides: by name, a network of :meth:`networks` and another one in the place of HR."""
        return {}

    def validate(self, model: ModelT, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """See :meth:`Evaluation.validate`; figures of bicubic, of the networks and of the comparisons."""
        dataset = loader.dataset
        name, scale = dataset.opt['name'], model.options.scale
        nets = self.networks(model)
        # A network under two names (`result`, `snet`) runs once.
        first = {label: next(other for other in nets if nets[other] is net) for label, net in nets.items()}
        compared: dict[str, Network] = {label: nets[label] for label in dict.fromkeys(first.values())}
        pairs = {pair: (first[net], first[other]) for pair, (net, other) in self.comparisons(model).items()}
        known = name in model.fixed_results
        if not known:
            compared['bicubic'] = lambda lq: bicubic_up(lq, scale)
        evaluation = SetEvaluation(
            compared, model.options.metrics, getattr(dataset, 'has_gt', True), pairs, rate_hr=not known
        )
        with evaluating(*nets.values()), model.precision.autocast():
            for batch in loader:
                lq = lq_of(model, batch, name)
                # Luma is no whole number of levels yet, as what it is compared with will be.
                gt = quantise(model.gt) if model.gt is not None and model.options.luma else model.gt
                images = evaluation.update(lq, gt, meta_of(model))
                for label in compared:
                    check_enlargement(label, images[label], lq, scale)
                if save_to is not None:
                    write_images(save_to, model.files, suffix, images['result'])
        results = evaluation.compute()
        for label in ('bicubic', HR):
            if label in results:
                model.fixed_results.setdefault(name, {})[label] = results[label]
        figures = {label: results[other] for label, other in first.items()}
        return {**model.fixed_results[name], **figures, **{pair: results[pair] for pair in pairs}}


class GeneratedFaces(Evaluation[MakesFaces]):
    """As many generated faces as the dataset has, by metrics that need no pairs (FID); no image is written."""

    has_pairs = False

    def validate(self, model: MakesFaces, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """See :meth:`Evaluation.validate`."""
        evaluation = SetEvaluation({'result': nn.Identity()}, model.options.metrics, True, rate_hr=False)
        generator = torch.Generator().manual_seed(_SEED + model.options.rank)
        for gt in _hr_batches(model, loader):
            evaluation.update(model.faces(len(gt), generator), gt, meta_of(model))
        return evaluation.compute()


class Recognition(Evaluation[Evaluated]):
    """A recogniser on HR faces; no image is written.

    Only metrics that rate HR faces by a recogniser are measured, and they take this one, whatever recogniser their
    block names; others, of super-resolved images, are passed over.
    """

    def validate(self, model: Evaluated, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """See :meth:`Evaluation.validate`; ``{'result': {metric: value}}``."""
        net = model.evaluated(model.result_label(model.opt))
        rating = {
            name: {**block, 'recogniser': net}
            for name, block in model.options.metrics.items()
            if (metric := lookup('metrics', block['type'])).rates_gt and 'recogniser' in signature(metric).parameters
        }
        with evaluating(net):
            evaluation = SetEvaluation({}, rating, has_gt=True)
            for gt in _hr_batches(model, loader):
                evaluation.update(gt, gt, meta_of(model))
            return {'result': evaluation.compute().get(HR, {})}


class NoEvaluation(Evaluation[Evaluated]):
    """A stage whose networks have no reference to be measured against.

    Args:
        refusal: why, and what to write in the option file; said before anything is trained.
    """

    def __init__(self, refusal: str) -> None:
        self.refusal = refusal

    def validate(self, model: Evaluated, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """Refuses.

        Raises:
            UserError: always.
        """
        raise UserError(self.refusal)


def _hr_batches(model: Evaluated, loader: EvalLoader) -> Iterable[Tensor]:
    """The HR faces of every batch, which has been fed to the model."""
    for batch in loader:
        model.feed_data(batch)
        assert model.gt is not None
        yield model.gt
