"""The way a network is run: by which engine, in which number format and layout, chosen by measuring."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fsr_plugins.archs.windows import enlarge
from fsr_plugins.choices import key_of, recall, remember
from fsr_plugins.engine.machine import machine
from fsr_plugins.errors import UserError
from fsr_plugins.number_formats import computes_bf16
from fsr_plugins.restore.onnx_engine import missing_packages, onnx_function

logger = logging.getLogger(__name__)

#: ``auto``: bf16 where the processor has instructions for it, it is measured to be faster and makes the same picture.
#: ``half``: fp16 on a GPU, else bf16.
InferencePrecision = Literal['auto', 'fp32', 'bf16', 'half']
#: ``auto``: ONNX Runtime for full precision on a CPU, if it is measured to be faster for many faces.
Engine = Literal['auto', 'torch', 'onnx']
#: The file of choices.
_NAME = 'forward'
_FORMATS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
_ONNX = 'onnx'
#: Faces that are tried, and how far a way may be from fp32: on the average and at most, in levels of 255.
_TRIED, _MEAN, _MOST = 4, 1.0, 12.0
#: Bringing a network to ONNX takes some seconds: with so many faces together it may pay.
_MANY = 32


class Forward:
    """A network as a function, in the way that is fastest here; it is found out with the first faces.

    What was found out is kept for this processor, these versions, this network and this size of LR, in
    ``$XDG_CACHE_HOME/fsr_plugins/forward.json``: the same pictures come out the same the next time.

    Args:
        precision: see :data:`InferencePrecision`.
        engine: see :data:`Engine`.

    Raises:
        UserError: a named way does not work here.
    """

    def __init__(
        self,
        net: nn.Module,
        device: torch.device,
        precision: InferencePrecision = 'auto',
        engine: Engine = 'auto',
    ) -> None:
        # Code of other programs may look at tensors in one layout alone (GFPGAN's `view`).
        self.layout = torch.channels_last if getattr(net, 'any_layout', True) else torch.contiguous_format
        layout: dict[str, Any] = {'memory_format': self.layout}  # torch 2.13 has no type for this argument
        self.net, self.device = net.to(**layout), device
        half = 'fp16' if device.type == 'cuda' else 'bf16'
        self.precision, self.engine = precision, engine
        self.format: str = half if precision == 'half' else precision
        self._ways: dict[tuple[int, int], str] = {}
        self._graphs: dict[tuple[int, int], Callable[[Tensor], Tensor]] = {}
        if self.format == 'bf16' and not computes_bf16(device):
            option = '--half' if precision == 'half' else '--precision bf16'
            raise UserError(f"{option}: {device} has no instructions for bf16; '--precision auto' takes what is there.")
        if engine == _ONNX:
            _check_onnx(device, precision)

    def __call__(self, lq: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] to the enlarged, float32."""
        size = lq.shape[-2], lq.shape[-1]
        if size not in self._ways:
            self._ways[size] = self._chosen(lq, size)
        return self._run(lq, self._ways[size])

    def way(self, size: tuple[int, int]) -> str | None:
        """How faces of a height and width are run; None: it has not been found out yet."""
        return self._ways.get(size)

    def _run(self, lq: Tensor, way: str) -> Tensor:
        if way == _ONNX:
            return self._graphs[lq.shape[-2], lq.shape[-1]](lq)
        lq = lq.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, dtype=_FORMATS[way], enabled=way != 'fp32'):
            sr = enlarge(self.net, lq)
        # Anything else is an error where the result is checked.
        return sr.float() if isinstance(sr, Tensor) and sr.is_floating_point() else sr

    def _chosen(self, lq: Tensor, size: tuple[int, int]) -> str:
        ways = self._candidates(len(lq))
        if len(ways) > 1:
            key = self._key(size, ways)
            found = recall(_NAME, key)
            if found not in ways:
                found = self._fastest(lq[:_TRIED], size, ways)
                remember(_NAME, key, found)
                logger.info('The network is run in %s, which is the fastest here.', found)
            ways = [str(found)]
        if ways == [_ONNX] and size not in self._graphs:
            self._graphs[size] = onnx_function(self.net, size)
        return ways[0]

    def _candidates(self, faces: int) -> list[str]:
        """What may be tried for so many faces, fp32 by PyTorch first."""
        if self.engine == _ONNX:
            return [_ONNX]
        tried = ['fp32', 'bf16'] if computes_bf16(self.device) else ['fp32']
        ways = tried if self.format == 'auto' else [self.format]
        exports = self.engine == 'auto' and self.device.type == 'cpu' and faces >= _MANY and not missing_packages()
        # bf16 is faster than it, where there is bf16.
        return [*ways, _ONNX] if ways == ['fp32'] and exports else ways

    def _fastest(self, lq: Tensor, size: tuple[int, int], ways: list[str]) -> str:
        seconds, results = {}, {}
        for way in ways:
            try:
                if way == _ONNX:
                    self._graphs[size] = onnx_function(self.net, size)
            except UserError as error:
                logger.info('Not taken: %s', error)
                continue
            self._run(lq, way)
            started = time.perf_counter()
            results[way] = self._run(lq, way)
            if self.device.type == 'cuda':
                torch.cuda.synchronize(self.device)
            seconds[way] = time.perf_counter() - started
        good = [way for way in seconds if way == ways[0] or _alike(results[way], results[ways[0]])]
        return min(good, key=lambda way: seconds[way])

    def _key(self, size: tuple[int, int], ways: list[str]) -> str:
        about = machine()
        shapes = [(name, tuple(value.shape)) for name, value in self.net.state_dict().items()]
        return key_of(about['cpu'], about['gpu'], about['torch_threads'], torch.__version__, type(self.net).__name__,
                      shapes, size, str(self.device.type), ways)  # fmt: skip


def _alike(found: Tensor, exact: Tensor) -> bool:
    if not isinstance(exact, Tensor) or not isinstance(found, Tensor) or found.shape != exact.shape:
        return False
    apart = (found.clamp(0, 1) - exact.clamp(0, 1)).abs() * 255
    return bool(apart.mean() <= _MEAN) and bool(apart.max() <= _MOST)


def _check_onnx(device: torch.device, precision: InferencePrecision) -> None:
    """Refuses ``--engine onnx`` where it does not work."""
    if precision in ('bf16', 'half'):
        option = '--half' if precision == 'half' else '--precision bf16'
        raise UserError(f'--engine onnx runs in full precision: leave out {option}, or take --engine torch.')
    if device.type != 'cpu':
        raise UserError(f'--engine onnx runs on the CPU, not on {device}: give --device cpu, or leave it out.')
    if missing := missing_packages():
        raise UserError(f"--engine onnx needs {', '.join(missing)}: pip install 'fsr_plugins[export]'.")
