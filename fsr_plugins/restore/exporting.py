"""A trained network as a file that needs this toolkit no more: what ``fsr export`` does."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError as ExportError
from torch._dynamo.exc import UserErrorType
from torch.export import Dim, ExportedProgram

import fsr_plugins
from fsr_plugins.atomic import write_atomically
from fsr_plugins.checkpoints import meta_of, resolved
from fsr_plugins.config.problems import explained
from fsr_plugins.errors import UserError
from fsr_plugins.restore.network import FaceNetwork, Json, check_size
from fsr_plugins.weights import file_sha256

#: Where a file says what it is: a property of an ONNX model, and the stem of an extra file of a .pt2.
META = 'fsr_plugins'
#: The largest mean difference that a file's images may have from the network's, of values in [0, 1].
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported, and where to.

    Attributes:
        checkpoint: a network file of this toolkit.
        output: the file to write; its suffix chooses the format, one of :data:`FORMATS`.
        size: height and width of LR; None: as in the training.
        param_key: ``params`` or ``params_ema``; None: the averaged weights where there are some.
        overwrite: whether ``output`` may exist.
    """

    checkpoint: Path
    output: Path
    size: tuple[int, int] | None = None
    param_key: str | None = None
    overwrite: bool = False


class Enlargement(nn.Module):
    """What a file holds: ``lq`` (N, 3, h, w), RGB in [0, 1], to ``sr``, as many times larger, clamped to [0, 1]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, lq: Tensor) -> Tensor:
        """See the class."""
        return self.net(lq).clamp(0, 1)


class Format(Protocol):
    """How a graph becomes a file, and a file images again; ``packages`` are what it needs of the extra ``export``."""

    packages: tuple[str, ...]

    def write(self, graph: ExportedProgram, about: str) -> bytes:
        """The file's content, from the graph and the text that it says of itself."""

    def read(self, content: bytes) -> Callable[[Tensor], Tensor]:
        """From a file's content, the images that it makes of LR."""


class TorchFormat:
    """PyTorch's own; see :class:`Format`."""

    packages: tuple[str, ...] = ()

    def write(self, graph: ExportedProgram, about: str) -> bytes:
        """See :class:`Format`."""
        file = io.BytesIO()
        torch.export.save(graph, file, extra_files={f'{META}.json': about})
        return file.getvalue()

    def read(self, content: bytes) -> Callable[[Tensor], Tensor]:
        """See :class:`Format`."""
        read: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(content)).module()
        return read


class OnnxFormat:
    """ONNX; see :class:`Format`."""

    packages: tuple[str, ...] = ('onnx', 'onnxscript', 'onnxruntime')

    def write(self, graph: ExportedProgram, about: str) -> bytes:
        """See :class:`Format`."""
        with _quiet('torch.onnx', 'onnxscript', 'onnx_ir'):
            program = torch.onnx.export(graph, (), input_names=['lq'], output_names=['sr'], dynamo=True, verbose=False)
        assert program is not None
        program.model.metadata_props[META] = about
        content: bytes = program.model_proto.SerializeToString()
        return content

    def read(self, content: bytes) -> Callable[[Tensor], Tensor]:
        """See :class:`Format`.

        Raises:
            RuntimeError: ONNX Runtime does not take the file.
        """
        from onnxruntime import InferenceSession, SessionOptions
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

        options = SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = InferenceSession(content, options, providers=['CPUExecutionProvider'])
        except (Fail, InvalidGraph, NotImplemented) as error:
            raise RuntimeError(f'ONNX Runtime does not take the file: {error}') from error
        return lambda lq: torch.from_numpy(session.run(['sr'], {'lq': lq.contiguous().numpy()})[0])


#: By the suffix of the file's name.
FORMATS: dict[str, Format] = {'.onnx': OnnxFormat(), '.pt2': TorchFormat()}


def export(request: ExportRequest) -> Json:
    """Writes the network as one graph of fixed LR size, if what is read back makes the network's own images.

    Returns:
        what the file says of itself, and ``{"file", "bytes", "difference", "largest"}``: how far its images are from
        the network's, in the mean and at most.
    Raises:
        UserError: something of the request does not fit, or the network cannot be exported; nothing is written.
        RunError: the file cannot be written.
    """
    form = _format(request)
    network = FaceNetwork.open(request.checkpoint, torch.device('cpu'), request.param_key)
    size = request.size or network.crop or network.known_size()
    check_size(size)
    network([np.zeros((*size, 3), np.uint8)])  # ends with its message if it does not enlarge such faces
    assert isinstance(network.net, nn.Module)
    net = Enlargement(network.net).eval()
    with explained(f'{network.name} cannot be exported'):
        graph, any_number = trace(net, size)
        meta, batch = meta_of(network.net), 'batch' if any_number else 1
        about = {
            'arch': meta['arch'],
            'scale': network.scale,
            'lq': [batch, 3, *size],
            'sr': [batch, 3, *(side * network.scale for side in size)],
            'range': [0.0, 1.0],
            'channels': 'RGB',
            'experiment': meta.get('experiment'),
            'net': meta.get('net'),
            'iteration': meta.get('iteration'),
            'sha256': file_sha256(resolved(request.checkpoint)[0]),
            'versions': {'fsr_plugins': fsr_plugins.__version__, 'torch': str(torch.__version__)},
        }
        content = form.write(graph, json.dumps(about))
        lq = torch.rand(3 if any_number else 1, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            off = (form.read(content)(lq) - net(lq)).abs()
    difference, largest = off.mean().item(), off.max().item()
    if not difference <= TOLERANCE:  # which is so of NaN too
        raise UserError(
            f'{network.name} cannot be exported: what the file makes differs from what the network makes by '
            f'{difference:.2g} in the mean, of values in [0, 1]. Does it draw random numbers? Otherwise try newer '
            "packages: pip install --upgrade 'fsr_plugins[export]'."
        )
    write_atomically(request.output, lambda file: file.write(content))
    found = {'file': str(request.output), 'bytes': len(content), 'difference': difference, 'largest': largest}
    return {**about, **found}


def _format(request: ExportRequest) -> Format:
    """The format that the output's name asks for, after looking whether it can be written."""
    form = FORMATS.get(request.output.suffix)
    if form is None:
        raise UserError(f'-o {request.output}: the name must end with one of {", ".join(FORMATS)}.')
    missing = [package for package in form.packages if find_spec(package) is None]
    if missing:
        raise UserError(f"{request.output.suffix} needs {', '.join(missing)}: pip install 'fsr_plugins[export]'.")
    if request.output.is_dir() or (request.output.exists() and not request.overwrite):
        raise UserError(f'-o {request.output}: that exists already: choose another name, or give --overwrite.')
    return form


def trace(net: nn.Module, size: tuple[int, int]) -> tuple[ExportedProgram, bool]:
    """The graph, and whether it takes any number of faces together; some networks can only be had for one."""
    lq = torch.zeros(2, 3, *size)
    try:
        graph = torch.export.export(net, (lq,), dynamic_shapes={'lq': {0: Dim('batch')}}, strict=False)
    except ExportError as error:
        if error.error_type is not UserErrorType.CONSTRAINT_VIOLATION:
            raise
        return _anonymous(torch.export.export(net, (lq[:1],), strict=False)), False
    return _anonymous(graph), True


def _anonymous(graph: ExportedProgram) -> ExportedProgram:
    """The graph without the stack traces that tell where on this machine its code lies."""
    for module in graph.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop('stack_trace', None)
    return graph


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Hides what these loggers warn of and what PyTorch will change: that is for those who write exporters."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
