"""The only place that mends BasicSR 1.4.2 for today's stack; imported before anything of BasicSR is.

Every mend says what broke and until when it is needed; ``tests/test_compat.py`` shows each breakage.
"""

from __future__ import annotations

import sys
import types
from typing import Any

_kept: list[Any] = []


def _declare_torchvision_operators() -> None:
    """Lets torchvision's CUDA wheel import beside a CPU-only torch.

    The wheel's extension links CUDA libraries; without them its operators are not declared, and torchvision's own shape
    registrations for two of them fail at import ("operator torchvision::nms does not exist"). Needed as long as those
    registrations are unconditional (seen in torchvision 0.28).
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
            del sys.modules[name]
        library = torch.library.Library('torchvision', 'FRAGMENT')
        for operator in ('nms', 'qnms'):
            library.define(f'{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        _kept.append(library)
        import torchvision  # noqa: F401


def _restore_functional_tensor() -> None:
    """Restores ``torchvision.transforms.functional_tensor`` (removed in torchvision 0.17), of which BasicSR imports
    ``rgb_to_grayscale``. Needed as long as BasicSR is 1.4.2."""
    name = 'torchvision.transforms.functional_tensor'
    if name in sys.modules:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    module = types.ModuleType(name)
    module.__dict__['rgb_to_grayscale'] = rgb_to_grayscale
    sys.modules[name] = module


def apply() -> None:
    """Applies every mend; calling it again does nothing."""
    if _kept:
        return
    _kept.append(True)
    _declare_torchvision_operators()
    _restore_functional_tensor()


apply()
