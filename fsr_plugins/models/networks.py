"""Building, loading and freezing the networks an option file names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fsr_plugins.checkpoints import load_weights
from fsr_plugins.config.settings import StageSettings, option_name
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.registry import build_network
from fsr_plugins.values import Record

ModuleT = TypeVar('ModuleT', bound=nn.Module)


@dataclass(frozen=True)
class Net:
    """What a model does with one of its networks ``net_<x>``, described by the option block ``network_<x>``."""

    result: bool = False  #: what the model is trained for: averaged (EMA), validated, handed on
    frozen: bool = False  #: evaluation mode, no gradients, never in an optimiser or in DDP, unchanged at the end
    optional: bool = False  #: may be absent from the option file
    train_only: bool = False  #: not built for testing (discriminators)
    solved: bool = False  #: it learns without gradients, from sums over the data: it has no optimiser
    double_backward: bool = False  #: its gradient is differentiated (gradient penalties), so it is never compiled


def bare(net: ModuleT) -> ModuleT:
    """The network itself, without the wrapper for several processes."""
    return cast(ModuleT, net.module) if isinstance(net, DistributedDataParallel) else net


def make_network(label: str, use: Net, options: StageSettings, device: torch.device) -> nn.Module | None:
    """The network ``label`` of a stage: built, weighted by ``path.pretrain_network_<x>``, and frozen if it is used so.

    Args:
        options: the stage's, for training or testing.
    Returns:
        None for one that the stage leaves out or that only training needs.
    Raises:
        UserError: the option file lacks its block, or the weights do not fit.
    """
    own = options.network(label)
    if own.block is None or (use.train_only and not options.is_train):
        if use.optional or not options.is_train:
            return None
        raise UserError(f"Stage '{options.name}' needs a block '{option_name(label)}' in the option file.")
    net = build_network(own.block).to(device)
    if own.weights:
        try:
            load_weights(net, own.weights, param_key=own.params, strict=own.strict)
        except UserError as error:
            raise UserError(f"key 'path.{own.weights_key}': {error}") from error
    if options.channels_last is True:
        layout: Record = {'memory_format': torch.channels_last}  # which not every torch's signature admits
        net = net.to(**layout)
    return freeze(net) if use.frozen else net


def freeze(net: nn.Module) -> nn.Module:
    """Evaluation mode and no gradients, for good: ``train()`` on it has no effect any more."""
    net.eval().requires_grad_(False)
    net.train = lambda mode=True: net  # type: ignore[method-assign]
    return net


def distribute(net: nn.Module, device: torch.device, find_unused_parameters: bool = False) -> DistributedDataParallel:
    """Wraps a network so that its gradients are averaged over all processes.

    Buffers are not broadcast at every forward pass: a discriminator runs twice before one backward pass, and a buffer
    rewritten in between would invalidate it. :meth:`FSRModel.synchronise_buffers` does it when it matters.
    """
    return DistributedDataParallel(
        net,
        device_ids=[device.index] if device.type == 'cuda' else None,
        broadcast_buffers=False,
        find_unused_parameters=find_unused_parameters,
    )


def checksum(net: nn.Module) -> str:
    """SHA-256 over the bytes of every parameter and buffer, in order."""
    return digest(net.state_dict().values())


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the bytes of tensors, in order."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def assert_unchanged(what: str, after: str, before: str) -> None:
    """Compares the checksum of what training must not touch with that from before training.

    Raises:
        RunError: it is no longer what it was.
    """
    if after != before:
        raise RunError(f'{what} was changed during training: a defect of the model that uses it.')


@contextmanager
def evaluating(*nets: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the modes are put back afterwards."""
    modes = [net.training for net in nets]
    for net in nets:
        net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for net, mode in zip(nets, modes, strict=True):
            net.train(mode)
