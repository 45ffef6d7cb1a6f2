"""This toolkit's networks for programs that are built on ``spandrel``.

After :func:`register`, ``spandrel.ModelLoader().load_from_file('net_g_latest.pth')`` gives a descriptor as of any other
network. A file of version 0.1 does not say in its state dict what network it is of; neither do the bundled networks. Of
such a file give ``ModelLoader().load_from_state_dict(state_dict_of(path))``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from spandrel import (
    MAIN_REGISTRY,
    Architecture,
    ArchRegistry,
    ArchSupport,
    ImageModelDescriptor,
    ModelTiling,
    SizeRequirements,
)
from torch import Tensor, nn

from fsr_plugins.checkpoints.layout import META, PARAMS, PARAMS_EMA, said_of, self_described
from fsr_plugins.checkpoints.loading import described, network_in
from fsr_plugins.checkpoints.meta import meta_in, meta_of, trained_on
from fsr_plugins.checkpoints.meta_types import Meta
from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY, load_plugins
from fsr_plugins.values import Record

#: What the sides of LR may have to be multiples of, tried in this order.
_MULTIPLES = (1, 2, 4, 8, 16, 32)
#: Side of the LR that is tried where the file does not say how large it was.
_SIDE = 64
_SOURCE = 'the state dict'


class ToolkitArchitecture(Architecture[nn.Module]):
    """An arch of this toolkit or of a plugin; a state dict says itself that it is of it.

    Args:
        arch: the name under which it is registered, which becomes the architecture's name.
    """

    def __init__(self, arch: str) -> None:
        super().__init__(id=f'fsr_plugins.{arch}', name=arch, detect=self._is_of_it)

    def _is_of_it(self, state: Mapping[str, object]) -> bool:
        said = said_of(state)
        block = said.get('arch') if isinstance(said, Mapping) else None
        return isinstance(block, Mapping) and block.get('type') == self.name

    def load(self, state_dict: Record) -> ImageModelDescriptor[nn.Module]:
        """The network, built and checked as :func:`fsr_plugins.load` does.

        Raises:
            UserError: the state dict says what cannot be, does not fit, does not say the scale, or is of a network that
                does not enlarge images (a discriminator, say).
        """
        content = {PARAMS: dict(state_dict), META: said_of(state_dict)}
        meta_in(content, _SOURCE)
        net = network_in(content, _SOURCE)
        scale = meta_of(net).get('scale')
        if not isinstance(scale, int):
            raise UserError(f"{_SOURCE} does not say how many times {self.name} enlarges ('scale' in its 'meta').")
        return ImageModelDescriptor(
            net,
            net.state_dict(),
            architecture=self,
            purpose='FaceSR',
            tags=[],
            supports_half=False,
            supports_bfloat16=False,
            scale=scale,
            input_channels=3,
            output_channels=3,
            size_requirements=sizes_of(net, scale, self.name),
            tiling=ModelTiling.DISCOURAGED,
        )


def register(registry: ArchRegistry = MAIN_REGISTRY) -> list[str]:
    """Makes every registered arch known to spandrel, those of plugins too; called again, those that are new.

    They are asked before spandrel's own, which look at the names of tensors.

    Args:
        registry: by default, the one that a ``ModelLoader`` uses.

    Returns:
        the names of those that were added.
    """
    load_plugins()
    known = tuple(each.architecture.id for each in registry)
    before = tuple(name for name in known if not name.startswith('fsr_plugins.'))
    added = registry.add(
        *(ArchSupport.from_architecture(ToolkitArchitecture(name), before) for name in sorted(ARCH_REGISTRY.keys())),
        ignore_duplicates=True,
    )
    return [each.architecture.name for each in added]


def state_dict_of(path: str | Path, param_key: str | None = None) -> dict[str, Tensor]:
    """The state dict of any of this toolkit's files, saying of itself what the file says.

    Args:
        path: the file, or the name of a bundled network.
        param_key: ``params`` or ``params_ema``; None: the averaged weights where there are some.

    Raises:
        UserError: see :func:`~fsr_plugins.checkpoints.described`; or the file has no such weights.
    """
    content = self_described(described(path))
    key = param_key or (PARAMS_EMA if PARAMS_EMA in content else PARAMS)
    if said_of(content.get(key)) is None:
        raise UserError(f"'{path}' holds no weights under '{key}': give 'params' or 'params_ema'.")
    found: dict[str, Tensor] = content[key]
    return found


def sizes_of(net: nn.Module, scale: int, name: str) -> SizeRequirements:
    """Which LR a network takes, found out by trying.

    A size beside that of its training is tried, a multiple of 1, 2, 4, …; if it takes none of these it takes only that
    of its training.

    Args:
        name: of the network, for messages.

    Raises:
        UserError: it does not enlarge images of its training's size ``scale`` times.
    """
    meta: Meta = meta_of(net)
    hr = trained_on(meta)['size']
    height, width = (_SIDE, _SIDE) if hr is None else (max(1, hr[0] // scale), max(1, hr[1] // scale))
    if not _takes(net, height, width, scale):
        raise UserError(f'{_SOURCE} is of {name}, which does not enlarge images of {height}×{width} {scale} times.')
    for multiple in _MULTIPLES:
        # An odd multiple, so that it is one of nothing larger.
        beside = [(side // multiple | 1) * multiple for side in (height + multiple, width + multiple)]
        if _takes(net, beside[0], beside[1], scale):
            return SizeRequirements(multiple_of=multiple)
    return SizeRequirements(multiple_of=max(height, width), square=height == width)


@torch.inference_mode()
def _takes(net: nn.Module, height: int, width: int, scale: int) -> bool:
    try:
        sr = net(torch.full((1, 3, height, width), 0.5))
    except Exception:  # somebody's network, given a size that it may not be made for
        return False
    return isinstance(sr, Tensor) and sr.shape == (1, 3, scale * height, scale * width)
