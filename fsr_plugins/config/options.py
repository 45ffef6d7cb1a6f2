"""What an option file may say about training: one definition that parses, checks and documents.

A method adds its own switches by subclassing :class:`TrainOptions` as ``Train`` inside its model class.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

#: A block with a key ``type`` and the arguments of the registered class; checked against its signature by preflight.
Block = dict[str, Any]

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
    optim: Block | None = Field(None, description='any torch.optim class, for every network without its own optim_<x>')
    scheduler: Block | None = Field(None, description="BasicSR's or torch's schedulers, for networks without their own")
    ema_decay: float = Field(0.0, ge=0, lt=1, description='moving average of the result network; 0 for none')
    accumulate: int = Field(1, ge=1, description='batches a step')
    clip_grad_norm: float | None = Field(None, gt=0, description='largest gradient norm of a network')
