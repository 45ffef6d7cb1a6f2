"""What options are checked against: the declarations of a model class, without knowing models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fsr_plugins.config.options import TrainOptions
from fsr_plugins.values import Block, Options


class DeclaredNetwork(Protocol):
    """What a model says of one of its networks, see :class:`fsr_plugins.models.Net`."""

    @property
    def solved(self) -> bool:
        """Whether it learns without gradients, and so has no optimiser."""

    @property
    def frozen(self) -> bool:
        """Whether it never learns."""

    @property
    def train_only(self) -> bool:
        """Whether it is not built for testing."""

    @property
    def optional(self) -> bool:
        """Whether an option file may leave it out."""


class DeclaredEvaluation(Protocol):
    """What a model says of its validation, see :class:`fsr_plugins.models.Evaluation`."""

    @property
    def refusal(self) -> str | None:
        """Why there can be none."""

    @property
    def has_pairs(self) -> bool:
        """Whether what it measures is made of the set's images, each of one."""


class DeclaredModel(Protocol):
    """A class of :mod:`fsr_plugins.models`, as the registry gives it."""

    __name__: str
    networks: Mapping[str, DeclaredNetwork]
    evaluation: DeclaredEvaluation
    Train: type[TrainOptions]
    generates_set: bool

    def composite_blocks(self, opt: Options) -> dict[str, Block]:
        """The networks that are put together of others when they are saved."""
