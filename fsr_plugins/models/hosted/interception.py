"""What a hosted model's own saving and loading is replaced by."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from fsr_plugins.checkpoints import PARAMS, load_weights

if TYPE_CHECKING:
    from fsr_plugins.values import Batch, Options

from basicsr.models.base_model import BaseModel  # isort: skip
from basicsr.utils.logger import initialized_logger  # isort: skip


class Intercepted(BaseModel):
    """Stands before a class of :class:`BaseModel`: it notes what is to be saved, and reads weights as the engine does.

    Attributes:
        noted: by label, the networks that :meth:`save_network` was called with, by the keys of their weights.
    """

    noted: dict[str, dict[str, nn.Module]]

    def feed_data(self, data: Batch) -> None:
        """See BasicSR; what changes the shapes of a batch afterwards, as its videos do, does not change the model's.

        On a GPU the model has a copy.
        """
        super().feed_data({key: value.detach() if isinstance(value, Tensor) else value for key, value in data.items()})

    def save_network(
        self,
        net: nn.Module | Sequence[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | Sequence[str] = PARAMS,
    ) -> None:
        """See BasicSR; nothing is written."""
        nets = list(net) if isinstance(net, list | tuple) else [net]
        keys = [param_key] if isinstance(param_key, str) else list(param_key)
        self.noted[net_label] = {key: self.get_bare_model(each) for key, each in zip(keys, nets, strict=True)}

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """See BasicSR; the engine writes a state of its own."""

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool | None = True, param_key: str | None = PARAMS
    ) -> None:
        """See BasicSR.

        Raises:
            UserError: the file is damaged, or its weights do not fit.
        """
        load_weights(self.get_bare_model(net), load_path, param_key=param_key, strict=bool(strict))


def intercepted(cls: type[BaseModel], opt: Options) -> Intercepted:
    """A model of ``cls`` of which nothing writes files of weights."""
    kind = type(cls.__name__, (Intercepted, cls), {'noted': {}, '__module__': cls.__module__})
    model: Intercepted = kind(opt)
    return model


def quieten(rank: int) -> None:
    """Lets BasicSR's logger say warnings, where this package's says its own; it prints whole networks otherwise."""
    name = 'basicsr'
    initialized_logger[name] = True
    theirs = logging.getLogger(name)
    theirs.handlers.clear()
    theirs.parent, theirs.propagate = logging.getLogger('fsr_plugins'), True
    theirs.setLevel(logging.ERROR if rank else logging.WARNING)
