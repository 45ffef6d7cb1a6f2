"""A checkpoint as a network that is ready to enlarge: on its device, in the precision that serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from fsr_plugins.errors import UserError
from fsr_plugins.faces.opening import device_here
from fsr_plugins.restore.forward import Engine, Forward, InferencePrecision
from fsr_plugins.restore.network import FaceNetwork


def open_network(
    checkpoint: str | Path,
    device: str = 'auto',
    precision: InferencePrecision = 'auto',
    param_key: str | None = None,
    size: tuple[int, int] | None = None,
    batch_size: int | None = None,
    engine: Engine = 'auto',
) -> FaceNetwork:
    """The network of a checkpoint.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, …
        precision, engine: see :mod:`fsr_plugins.restore.forward`.
        param_key: ``params`` or ``params_ema``; None: the averaged weights where there are some.
        size: height and width of LR; None: as the checkpoint says.
        batch_size: faces that go through it together; None: 32, fewer of large ones.

    Raises:
        UserError: the device is not here, a number makes no sense, or see :meth:`FaceNetwork.open`.
    """
    if batch_size is not None and batch_size < 1:
        raise UserError(f'--batch-size {batch_size}: at least 1 is needed.')
    place = device_named(device)
    network = FaceNetwork.open(checkpoint, place, param_key)
    if isinstance(network.net, nn.Module):
        network = replace(network, net=Forward(network.net, place, precision, engine))
    network = replace(network, batch_size=batch_size)
    return network if size is None else network.of_size(size)


def device_named(name: str) -> torch.device:
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    return device_here(name, "'auto' takes what there is")
