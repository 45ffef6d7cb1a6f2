"""The way a network is run: in which number format and layout, chosen by measuring."""

from __future__ import annotations

import logging
import time
from typing import Literal

import torch
from torch import Tensor, nn

from fsr_plugins.choices import key_of, recall, remember
from fsr_plugins.engine.machine import machine
from fsr_plugins.errors import UserError
from fsr_plugins.models.precision import computes_bf16

logger = logging.getLogger(__name__)

#: ``auto``: bf16 where the processor has instructions for it, it is measured to be faster and makes the same picture.
InferencePrecision = Literal['auto', 'fp32', 'bf16']
#: The file of choices.
_NAME = 'forward'
_WAYS = {'fp32': torch.float32, 'bf16': torch.bfloat16}
#: Faces that are tried, and how far bf16 may be from fp32: on the average and at most, in levels of 255.
_TRIED, _MEAN, _MOST = 4, 1.0, 12.0


class Forward:
    """A network as a function, in the way that is fastest here; it is found out with the first faces.

    What was found out is kept for this processor, these versions, this network and this size of LR, in
    ``$XDG_CACHE_HOME/fsr_plugins/forward.json``: the same pictures come out the same the next time.

    Args:
        precision: see :data:`InferencePrecision`.

    Raises:
        UserError: bf16 is asked for by name, and the device does not compute it.
    """

    def __init__(self, net: nn.Module, device: torch.device, precision: InferencePrecision = 'auto') -> None:
        self.net, self.device = net.to(memory_format=torch.channels_last), device  # type: ignore[call-overload]
        self.precision = precision
        self._ways: dict[tuple[int, int], str] = {}
        if precision == 'bf16' and not computes_bf16(device):
            raise UserError(f"--precision bf16: {device} has no instructions for it; 'auto' takes what is there.")

    def __call__(self, lq: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] to the enlarged, float32."""
        size = lq.shape[-2], lq.shape[-1]
        if size not in self._ways:
            self._ways[size] = self._chosen(lq[:_TRIED], size)
        return self._run(lq, self._ways[size])

    def _run(self, lq: Tensor, way: str) -> Tensor:
        lq = lq.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=_WAYS[way], enabled=way != 'fp32'):
            sr = self.net(lq)
        # Whoever gives something else is told so where the result is looked at.
        return sr.float() if isinstance(sr, Tensor) and sr.is_floating_point() else sr

    def _chosen(self, lq: Tensor, size: tuple[int, int]) -> str:
        if self.precision != 'auto':
            return self.precision
        if not computes_bf16(self.device):
            return 'fp32'
        key = self._key(size)
        if (kept := recall(_NAME, key)) in _WAYS:
            return str(kept)
        found = 'bf16' if self._bf16_serves(lq) else 'fp32'
        remember(_NAME, key, found)
        logger.info('The network is run in %s, which is faster here.', found)
        return found

    def _bf16_serves(self, lq: Tensor) -> bool:
        seconds, results = {}, {}
        for way in _WAYS:
            self._run(lq, way)
            started = time.perf_counter()
            results[way] = self._run(lq, way)
            if self.device.type == 'cuda':
                torch.cuda.synchronize(self.device)
            seconds[way] = time.perf_counter() - started
        if seconds['bf16'] >= seconds['fp32'] or not isinstance(results['fp32'], Tensor):
            return False
        apart = (results['bf16'] - results['fp32']).abs() * 255
        return bool(apart.mean() <= _MEAN) and bool(apart.max() <= _MOST)

    def _key(self, size: tuple[int, int]) -> str:
        about = machine()
        shapes = [(name, tuple(value.shape)) for name, value in self.net.state_dict().items()]
        return key_of(about['cpu'], about['gpu'], about['torch_threads'], torch.__version__, type(self.net).__name__,
                      shapes, size, str(self.device.type))  # fmt: skip
