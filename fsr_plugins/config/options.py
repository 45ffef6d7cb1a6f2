"""What an option file may say about training: one definition that parses, checks and documents.

A method adds its own switches by subclassing :class:`TrainOptions` as ``Train`` inside its model class.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from fsr_plugins.config.losses import Loss, loss_fields, needed_networks
from fsr_plugins.errors import MISFIT, UserError, misfit
from fsr_plugins.values import Block, Options
from fsr_plugins.wording import wanted

#: What generators are seeded with; ranks and images are counted on from it.
Seed = Annotated[int, Field(ge=0, le=2**62)]
#: The modes of ``torch.compile``.
CompileMode = Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs']


class StrictOptions(BaseModel):
    """Options of which every key is known: an unknown one is an error."""

    model_config = ConfigDict(extra='forbid', strict=True)


class TrainOptions(StrictOptions):
    """The block ``train``; ``optim_<x>`` and ``scheduler_<x>``, for the network ``net_<x>``, may stand beside these."""

    model_config = ConfigDict(extra='allow', strict=True)

    total_iter: int = Field(gt=0, description='iterations, each one batch per process')
    warmup_iter: int = Field(-1, description='linear warm-up; -1 for none')
    optim: Block | None = Field(
        None, description='any torch.optim class or MuonAdam, for every network without its own optim_<x>'
    )
    scheduler: Block | None = Field(None, description="BasicSR's or torch's schedulers, for networks without their own")
    ema_decay: float = Field(0.0, ge=0, lt=1, description='moving average of the result network; 0 for none')
    accumulate: int = Field(1, ge=1, description='batches a step')
    clip_grad_norm: float | None = Field(None, gt=0, description='largest gradient norm of a network')

    #: A loss to recommend where an option file gives none of a method's; None: a training without one is meant.
    suggested_loss: ClassVar[str | None] = None

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses that are given, by key, in the order in which they are declared."""
        values = {key: getattr(self, key) for key in loss_fields(type(self))}
        return {key: loss for key, loss in values.items() if loss is not None}

    def required_networks(self) -> dict[str, str]:
        """The networks that these options need besides those that a model always has: by label, what needs them."""
        fields = loss_fields(type(self))
        return {label: f"'train.{key}'" for key in self.losses for label in needed_networks(fields[key])}

    @model_validator(mode='after')
    def _steps(self) -> Self:
        if self.accumulate > self.total_iter:
            raise misfit(
                f"a step is made of 'accumulate', {self.accumulate}, batches, and 'total_iter' is {self.total_iter}: "
                'no step would be made'
            )
        return self

    @model_validator(mode='after')
    def _has_a_loss(self) -> Self:
        if self.suggested_loss is not None and not self.losses:
            raise misfit(
                f"this training has no loss: give 'train.{self.suggested_loss}', or another of the method's losses"
            )
        return self


OptionsT = TypeVar('OptionsT', bound=TrainOptions)


def read_train(options: type[OptionsT], block: Options | None) -> OptionsT:
    """The block ``train`` as options; the defaults where there is none, as when a network is only tested.

    Raises:
        UserError: naming every key that does not fit.
    """
    if block is None:
        return options.model_construct()
    try:
        return options.model_validate(dict(block))
    except ValidationError as error:
        lines = [
            f"'{'.'.join(('train', *map(str, detail['loc'])))}'"
            + (f': {detail["msg"]}.' if detail['type'] in (MISFIT, 'missing') else f' must be {wanted(detail)}.')
            for detail in error.errors()
        ]
        raise UserError(' '.join(lines)) from error
