"""What methods written for version 0.1 call and override; it goes with version 0.3. See docs/changes.md."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from fsr_plugins.registry import build


def warn(old: str, new: str) -> None:
    """Tells the author of a method what the new name is."""
    warnings.warn(f'{old} is of version 0.1 and will not work from version 0.3 on: {new}.', FutureWarning, stacklevel=3)


class Version01:
    """The methods of a 0.1 model that are called from outside."""

    train_opt: Any
    device: Any

    def build_loss(self, key: str) -> nn.Module | None:
        """The loss that ``train.<key>`` names, on the device; None where the option file leaves it out."""
        warn(f"build_loss('{key}')", f"declare '{key}: Loss' in Train and use self.losses.{key}")
        given = getattr(self.train_opt, key)
        block = getattr(given, 'block', given)
        return build('losses', block).to(self.device) if block else None

    def validation_nets(self) -> dict[str, nn.Module]:
        """What validation compares, from LR to SR."""
        model: Any = self
        return {'result': model.evaluated(model.result_label(model.opt))}


def init_losses(model: object) -> None:
    """Calls a model's ``init_losses``, if it has one."""
    own = getattr(model, 'init_losses', None)
    if own is not None:
        warn(f'{type(model).__name__}.init_losses', 'declare losses in Train, and do the rest in prepare_training')
        own()


def validation_nets(model: object) -> dict[str, nn.Module] | None:
    """What a model's own ``validation_nets`` gives; None if it has none of its own."""
    if not isinstance(model, Version01) or type(model).validation_nets is Version01.validation_nets:
        return None
    warn(f'{type(model).__name__}.validation_nets', 'give the model an evaluation with a method networks(model)')
    return model.validation_nets()
