"""A network run by ONNX Runtime instead of PyTorch: faster in full precision on many processors."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError

#: What is needed of the extra ``export``.
PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')


def missing_packages() -> list[str]:
    """Those of :data:`PACKAGES` that are not installed."""
    return [package for package in PACKAGES if find_spec(package) is None]


def onnx_function(net: nn.Module, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """The network as a graph that ONNX Runtime runs on the CPU, with as many threads as torch has.

    Args:
        net: from (N, 3, h, w) RGB in [0, 1] to the enlarged, in evaluation mode on the CPU.
        size: h and w.

    Returns:
        what takes and gives float32 tensors as ``net`` does, but clamped to [0, 1].

    Raises:
        UserError: the network has no graph, or one for a single face only.
    """
    # Tracing imports torch's compiler, which takes a second.
    from fsr_plugins.restore.exporting import FORMATS, Enlargement, trace

    try:
        graph, any_number = trace(Enlargement(net).eval(), size)
        run = FORMATS['.onnx'].read(FORMATS['.onnx'].write(graph, '{}'))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, torch.onnx.OnnxExporterError) as error:
        reason = str(error).strip().partition('\n')[0][:200]
        raise UserError(f'--engine onnx: the network cannot be brought to ONNX: {reason}.') from error
    if not any_number:
        raise UserError('--engine onnx: the network can be brought to ONNX for one face at a time only.')
    return run
