"""What the tensors of a file must be: plain, dense, on the CPU, no larger than what the file holds, finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError

#: How many letters of a name from a file a message shows.
_LETTERS = 80
#: How deep tensors lie in a file at most.
_DEEP = 100


def shown(name: object) -> str:
    """A name from a file for a message: one line, of bounded length."""
    text = repr(name if isinstance(name, (str, int, float, bool, tuple)) else type(name).__name__)
    return text if len(text) <= _LETTERS else f'{text[:_LETTERS]}…'


def kind_of(value: object) -> str:
    """What a value from a file is, for a message."""
    name = type(value).__name__
    return 'nothing (None)' if value is None else f'{"an" if name[0] in "aeiou" else "a"} {name}'


def tensors_in(content: object) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested mappings and sequences, each once, with the dotted name of its place.

    Raises:
        RecursionError: they are nested deeper than any file of tensors.
    """
    todo: list[tuple[tuple[object, ...], object]] = [((), content)]
    seen: set[int] = set()
    while todo:
        keys, value = todo.pop()
        if len(keys) > _DEEP:
            raise RecursionError('nested too deep')
        if isinstance(value, Tensor):
            yield '.'.join(map(str, keys)), value
        elif isinstance(value, (Mapping, list, tuple, set, frozenset)) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            todo += [((*keys, key), item) for key, item in items]


def check_plain(content: object, source: str) -> None:
    """Refuses tensors that are not plain ones, wherever they are in a file's content.

    Raises:
        UserError: one is sparse, quantised, nested, of an own class, without data, or claims more elements than its
            storage holds; or values are nested too deep.
    """
    try:
        for name, tensor in tensors_in(content):
            if odd := _oddity(tensor):
                raise UserError(f'{source} cannot be read: {shown(name)} is {odd}. Only plain dense tensors are read.')
    except RecursionError as error:
        raise UserError(f'{source} cannot be read: its values are nested too deep.') from error


def _oddity(tensor: Tensor) -> str | None:
    if tensor.is_nested:
        return 'a nested tensor'
    if tensor.layout != torch.strided:
        return 'a sparse tensor'
    if tensor.is_quantized:
        return 'a quantised tensor'
    if type(tensor) not in (Tensor, nn.Parameter):
        return kind_of(tensor)
    if tensor.device.type != 'cpu':
        return f'a tensor without data ({tensor.device.type})'
    # Strides of zero make a terabyte of one byte.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f'{tuple(tensor.shape)} large, but its data is not'
    return None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number is NaN or Inf; a device is waited for once, and the tensors stay where they are."""
    floating = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not floating:
        return True
    # The largest magnitude of each tensor, in one fused operation: it is no number if one of them is none, and unlike
    # a sum it cannot overflow.
    largest = torch._foreach_norm(floating, float('inf'))
    return bool(torch.stack([value.float() for value in largest]).isfinite().all())


def not_finite(content: object) -> str | None:
    """The dotted name of the first tensor in nested mappings and sequences that holds NaN or an infinity, or None."""
    return next((name for name, tensor in tensors_in(content) if not _is_finite(tensor)), None)


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return True
    plain = tensor.detach()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    if plain.element_size() == 1:
        plain = plain.float()  # eight bits know no order in torch
    # One pass without a copy: a NaN passes through both, an infinity is one of them.
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(plain))


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Refuses weights that are no finite numbers.

    Raises:
        UserError: the message names the first such tensor.
    """
    wrong = not_finite(state)
    if wrong is not None:
        raise UserError(
            f'{source} holds values that are no finite numbers (NaN or infinite), in {shown(wrong)}: '
            'its training diverged, or it is damaged. Give another.'
        )
