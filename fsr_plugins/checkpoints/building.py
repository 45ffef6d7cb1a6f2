"""Building the network that a file names, so that a false file takes neither memory nor time."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from fsr_plugins.errors import UserError, shown
from fsr_plugins.values import ReadBlock

#: How many parameters and modules a network may register in its making, beyond the file's tensors and for each.
_BEYOND, _PARAMETERS, _MODULES = 256, 4, 64
#: How many numbers they may hold together, beyond the file's and for each; buffers need not be in the file.
_NUMBERS, _NUMBERS_BEYOND = 4, 1 << 26
#: The largest whole number among a network's arguments, and how many times the file's longest side it may be beyond:
#: they are sides, and numbers of layers and classes. Whatever loops over more takes time and memory.
_LARGEST, _SIDES = 1 << 16, 4
#: Functions and methods that change nothing but the values of their first argument.
_VALUES = frozenset(
    (
        *('normal_', 'uniform_', 'trunc_normal_', 'orthogonal_'),
        *('kaiming_normal_', 'kaiming_uniform_', 'xavier_normal_', 'xavier_uniform_'),
        *('abs_', 'add_', 'clamp_', 'div_', 'fill_', 'mul_', 'neg_', 'sub_', 'zero_'),
    )
)


class _TooLarge(Exception):
    """A network in its making has become larger than the file's tensors allow."""


def sketch(
    make: Callable[[], nn.Module], state: Mapping[str, Tensor], block: ReadBlock, source: str
) -> nn.Module | None:
    """The network without its numbers: names and shapes, on torch's device ``meta``, in no memory.

    Args:
        make: builds it.
        state: the file's tensors.
        block: what is built, ``type`` and arguments.
        source: how messages call the file.

    Returns:
        None where the arch cannot be built so.
    Raises:
        UserError: its arguments make it far larger than the file.
    """
    _check_arguments(state, block, source)
    try:
        # Building a network twice draws random numbers once.
        with torch.random.fork_rng(devices=[]), torch.device('meta'), _Valueless(state), bounded(state):
            return _module(make(), block, source)
    except _TooLarge as error:
        raise _misfit(block, source, error) from error
    except Exception:  # of an arch that asks for values, or whose arguments are wrong: then :func:`construct` says so
        return None


class _Valueless(TorchFunctionMode):
    """Computes no values of tensors, which have no memory, and ends what would be far larger than a file's tensors.

    To draw random numbers for them is most of the time that a sketch takes; arithmetic imports torch's compiler.

    Args:
        state: the file's tensors.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.most = _most_numbers(state)

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        if getattr(func, '__name__', '') in _VALUES:
            return args[0] if args else given['tensor']
        result = func(*args, **given)
        if isinstance(result, Tensor) and result.numel() > self.most:
            raise _TooLarge('they make it far larger than its tensors')
        return result


def construct(
    make: Callable[[], nn.Module], state: Mapping[str, Tensor], block: ReadBlock, source: str, *, watched: bool = False
) -> nn.Module:
    """Builds the network of a file, whose arguments are as false as the file may be.

    Args:
        make, state, block, source: as for :func:`sketch`.
        watched: every operation is looked at before it takes memory, which costs time: where there is no sketch.

    Raises:
        UserError: it cannot be built with these arguments, or is far larger than the file.
    """
    _check_arguments(state, block, source)
    try:
        with bounded(state), Modest(state) if watched else nullcontext():
            return _module(make(), block, source)
    except UserError as error:
        if isinstance(error.__cause__, TypeError):  # the registry's message shows every argument
            raise _misfit(block, source, error.__cause__) from error
        raise
    except Exception as error:  # somebody's constructor, given anything
        raise _misfit(block, source, error) from error


def _check_arguments(state: Mapping[str, Tensor], block: ReadBlock, source: str) -> None:
    sides = (side for tensor in state.values() for side in tensor.shape)
    values = tree_leaves(dict(block))
    largest = max((abs(value) for value in values if isinstance(value, int)), default=0)
    if largest > max(_LARGEST, _SIDES * max(sides, default=0)):
        number = f'{largest:,}' if largest < 1 << 64 else 'a number of more than 64 bits'
        raise _misfit(block, source, f'{number} among them is far larger than its tensors')
    for value in values:
        if isinstance(value, str) and _is_device(value):
            raise _misfit(block, source, f'{shown(value)} among them is a device or a pipe of this machine')


def _is_device(text: str) -> bool:
    """Whether a text names what may have no end; an arch may read what its arguments name."""
    try:
        mode = os.stat(text).st_mode
    except (OSError, ValueError):  # not there, or no name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _module(net: object, block: ReadBlock, source: str) -> nn.Module:
    if not isinstance(net, nn.Module):
        raise UserError(f'{source} cannot be built: {str(block.get("type"))[:80]!r} is no network.')
    return net


def _misfit(block: ReadBlock, source: str, why: object) -> UserError:
    return UserError(
        f"{source} does not hold the weights of {str(block.get('type'))[:80]} with the arguments of its 'meta': "
        f'{reason_of(why)}. It is damaged, or of another version of that network.'
    )


class Modest(TorchDispatchMode):
    """Ends an operation whose result would be far larger than the tensors of a file, before it takes memory.

    What a constructor reckons with (positions, masks) is no parameter that :func:`bounded` would see.

    Args:
        state: the file's tensors.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.most = _most_numbers(state)

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = dict(kwargs or {})
        try:
            shapes, how = tree_map_only(Tensor, _outline, (tuple(args), given))
            result = func(*shapes, **(how | {'device': 'meta'} if 'device' in how else how))
        except Exception:  # an operation without shapes, say one that asks for a value
            result = None
        if any(isinstance(each, Tensor) and each.numel() > self.most for each in tree_leaves(result)):
            raise _TooLarge('they make it far larger than its tensors')
        return func(*args, **given)


def _outline(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device='meta')


def _most_numbers(state: Mapping[str, Tensor]) -> int:
    return _NUMBERS_BEYOND + _NUMBERS * sum(tensor.numel() for tensor in state.values())


def reason_of(why: object) -> str:
    """What somebody's exception says, in one line of bounded length."""
    return ' '.join(str(why).split())[:200] or type(why).__name__


@contextmanager
def bounded(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Ends what registers more parameters, modules or numbers than the network of these tensors can have.

    What was being built ends with an exception that says so.
    """
    tensors = len(state)
    left = {
        'parameters': _BEYOND + _PARAMETERS * tensors,
        'modules': 4 * _BEYOND + _MODULES * tensors,
        'numbers': _most_numbers(state),
    }
    builder = threading.get_ident()

    def spend(what: str, amount: int) -> None:
        left[what] -= amount
        if left[what] < 0:
            raise _TooLarge(f'they make it far larger than its {tensors} tensors')

    def parameter(module: nn.Module, name: str, value: Tensor | None) -> None:
        if threading.get_ident() == builder and value is not None:
            spend('parameters', 1)
            spend('numbers', value.numel())

    def buffer(module: nn.Module, name: str, value: Tensor | None) -> None:
        if threading.get_ident() == builder and value is not None:
            spend('numbers', value.numel())

    def child(module: nn.Module, name: str, value: nn.Module | None) -> None:
        if threading.get_ident() == builder:
            spend('modules', 1)

    with ExitStack() as hooks:
        hooks.callback(registration.register_module_parameter_registration_hook(parameter).remove)
        hooks.callback(registration.register_module_buffer_registration_hook(buffer).remove)
        hooks.callback(registration.register_module_module_registration_hook(child).remove)
        yield
