"""Which pretrained weights a loss of an option file needs, so that they can be fetched before training starts."""

from __future__ import annotations

from fsr_plugins.registry import lookup
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile, torchvision_weights

import basicsr.losses  # noqa: F401  isort: skip  registers its losses


def requirements(block: ReadBlock) -> list[WeightFile]:
    """The weight files that the loss of a ``type:`` block loads when it is built.

    A registered class with a method ``requirements(**options)`` is asked; BasicSR's ``PerceptualLoss``, which has none,
    loads torchvision's VGG through torch hub.

    Args:
        block: a block of ``train``, e.g. ``{'type': 'PerceptualLoss', 'layer_weights': …}``.

    Raises:
        UserError: no such loss, or an option that names no known network.
    """
    options = dict(block)
    name = options.pop('type')
    declared = getattr(lookup('losses', name), 'requirements', None)
    if declared is not None:
        return declared(**options)
    if name == 'PerceptualLoss':
        return [torchvision_weights(options.get('vgg_type', 'vgg19'), 'PerceptualLoss', for_hub=True)]
    return []
