"""Ways to break a checkpoint, by kind: each takes a random source, a whole file and the path of the broken one."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

Fault = Callable[[random.Random, bytes, Path], None]

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 10**6, 10**9, 10**12, 10**30, -(10**12), 0.5, 1e300, float('nan'),
    float('inf'), '', 'x', 'EDSR', 'VGGStyleDiscriminator', '../../escaped', 'a\0b', '\n', '\ud800', 'ä' * 300,
    'x' * 100_000, [], [[]], [0, 0], [10**9, 10**9], [None], ['x'] * 5, [[1.0, 2.0]] * 5, [[1.0]] * 5, [0.0, 255.0],
    {}, {'type': []}, {'type': 'BicubicDown'}, {'type': 'x' * 5000}, {1: 2}, {None: None}, {'a': {'b': {'c': {}}}},
    b'bytes', 99, 'BGR', (1, 2), torch.ones(2),
]  # fmt: skip


class Code:
    """Unpickled, it makes a folder ``ran``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ('ran',)


def content_of(whole: bytes) -> dict[str, Any]:
    """What a whole file holds."""
    content: dict[str, Any] = torch.load(io.BytesIO(whole), weights_only=True)
    return content


def bit(draw: random.Random, whole: bytes, path: Path) -> None:
    """One bit, anywhere."""
    spoilt = bytearray(whole)
    spoilt[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
    path.write_bytes(spoilt)


def many_bytes(draw: random.Random, whole: bytes, path: Path) -> None:
    """Up to 64 bytes, anywhere or side by side."""
    spoilt, start = bytearray(whole), draw.randrange(len(whole))
    beside = draw.random() < 0.3
    for step in range(draw.randint(1, 64)):
        spoilt[(start + step) % len(whole) if beside else draw.randrange(len(whole))] = draw.randrange(256)
    path.write_bytes(spoilt)


def cut(draw: random.Random, whole: bytes, path: Path) -> None:
    """The end is missing."""
    path.write_bytes(whole[: draw.randrange(len(whole))])


def cut_inside(draw: random.Random, whole: bytes, path: Path) -> None:
    """Something is missing in the middle, or doubled."""
    start = draw.randrange(len(whole))
    end = min(len(whole), start + draw.choice([1, 64, 1000, 4096]))
    path.write_bytes(whole[:start] + (b'' if draw.random() < 0.5 else whole[start:end] * 2) + whole[end:])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def meta_value(draw: random.Random, whole: bytes, path: Path) -> None:
    """Something in ``meta`` is another value, of this type or another."""
    content = content_of(whole)
    for _ in range(draw.choice([1, 1, 1, 3])):
        parent, key = draw.choice(list(_places(content['meta'])))
        found = parent[key]
        numbers = isinstance(found, int | float) and draw.random() < 0.5
        parent[key] = found * draw.choice([-1, 0, 2, 1000, 10**9, 0.5]) if numbers else draw.choice(VALUES)
    torch.save(content, path)


def meta_arch(draw: random.Random, whole: bytes, path: Path) -> None:
    """An argument of the arch is another value, above all a huge one."""
    content = content_of(whole)
    parent, key = draw.choice(list(_places(content['meta']['arch'])))
    huge = draw.random() < 0.5 and isinstance(parent[key], int)
    parent[key] = draw.choice([10**5, 10**7, 10**9, 10**12, 2**63, -(10**9)]) if huge else draw.choice(VALUES)
    torch.save(content, path)


def meta_keys(draw: random.Random, whole: bytes, path: Path) -> None:
    """Keys of ``meta`` are missing, renamed or more."""
    content = content_of(whole)
    parent, key = draw.choice([place for place in _places(content['meta']) if isinstance(place[0], dict)])
    value = parent.pop(key)
    change = draw.randrange(4)
    if change == 1:
        parent[draw.choice([3, None, '', key + 'x', 'requires', 'x' * 10_000])] = value
    elif change == 2:
        content['meta'] = draw.choice(VALUES)
    elif change == 3:
        inside: Any = []
        for _ in range(draw.choice([10, 100])):
            inside = [inside] if draw.random() < 0.5 else {'a': inside}
        parent[key] = inside
    torch.save(content, path)


def exchanged(draw: random.Random, whole: bytes, path: Path) -> None:
    """Tensors are exchanged, missing, renamed, more, or of another shape."""
    content = content_of(whole)
    state = content['params']
    first, second = (draw.choice(list(state)) for _ in range(2))
    change = draw.randrange(6)
    if change == 0:
        state[first], state[second] = state[second], state[first]
    elif change == 1:
        del state[first]
    elif change == 2:
        state[draw.choice([3, None, '', 'x' * 10_000, 'a\nb', b'x', (1, 2), first + '.weight'])] = state.pop(first)
    elif change == 3:
        state[first] = state[first][None] if draw.random() < 0.5 else state[first].reshape(-1)[:0]
    elif change == 4:
        state[first] = draw.choice([None, 3, 'x', [state[first]], {}, state])
    else:
        content['params'] = draw.choice([None, [], {}, 'x', list(state.values()), {'params': state}])
    torch.save(content, path)


def dtype(draw: random.Random, whole: bytes, path: Path) -> None:
    """A tensor of another dtype."""
    content = content_of(whole)
    key = draw.choice(list(content['params']))
    kinds = [torch.int64, torch.uint8, torch.bool, torch.float16, torch.float64, torch.complex64, torch.float8_e5m2]
    content['params'][key] = content['params'][key].to(draw.choice(kinds))
    torch.save(content, path)


def _odd(draw: random.Random, tensor: Tensor) -> Tensor:
    tensor = tensor.float()
    return [
        lambda: tensor.to_sparse(),
        lambda: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([tensor, tensor]),
        lambda: torch.zeros(1).expand(tensor.shape),
        lambda: torch.zeros(1).expand(10**6, 10**6),
        lambda: torch.empty_strided(tensor.shape, [0] * tensor.ndim),
        lambda: tensor.to('meta'),
        lambda: torch.empty(0).as_strided((0,) * max(1, tensor.ndim), (1,) * max(1, tensor.ndim)),
    ][draw.randrange(8)]()


def odd_tensor(draw: random.Random, whole: bytes, path: Path) -> None:
    """A sparse, quantised, nested, expanded or empty tensor, or one without data."""
    content = content_of(whole)
    key = draw.choice([key for key, tensor in content['params'].items() if tensor.ndim])
    content['params'][key] = _odd(draw, content['params'][key])
    torch.save(content, path)


def not_finite(draw: random.Random, whole: bytes, path: Path) -> None:
    """NaN, infinities, or weights so large that the result is one."""
    content = content_of(whole)
    state = content['params_ema' if 'params_ema' in content else 'params']
    key = draw.choice([key for key, tensor in state.items() if tensor.is_floating_point() and tensor.numel()])
    value = draw.choice([float('nan'), float('inf'), float('-inf'), 3e38, 1e300])
    tensor = state[key].double() if value == 1e300 else state[key]
    state[key] = tensor.clone()
    state[key].view(-1)[draw.randrange(tensor.numel())] = value
    torch.save(content, path)


def code(draw: random.Random, whole: bytes, path: Path) -> None:
    """Code inside."""
    content = content_of(whole)
    parent, key = draw.choice(list(_places(content)))
    parent[key] = Code()
    if draw.random() < 0.5:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=draw.randrange(6)))


def zipped(draw: random.Random, whole: bytes, path: Path) -> None:
    """Another archive: compressed, something around it, members doubled, missing, renamed or exchanged."""
    change = draw.randrange(7)
    if change == 0:
        path.write_bytes(draw.choice([whole[:7], b'PK\x03\x04', b'x', whole]) + whole)
        return
    if change == 1:
        path.write_bytes(whole + draw.choice([b'x', b'\0' * 1000, whole, whole[-22:]]))
        return
    with zipfile.ZipFile(io.BytesIO(whole)) as source:
        members = [(info.filename, source.read(info)) for info in source.infolist()]
    chosen = draw.randrange(len(members))
    name, data = members[chosen]
    if change == 2:
        members.append((name, draw.choice([data, b'', data[::-1]])))
    elif change == 3:
        del members[chosen]
    elif change == 4:
        members[chosen] = draw.choice(['../../../escaped', name.upper(), '', 'a/b/c', name + '\0x']), data
    elif change == 5:
        members[chosen] = name, draw.choice([b'', data * 2, data[: len(data) // 2], bytes(10**7)])
    kind = zipfile.ZIP_DEFLATED if change == 6 or draw.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, 'w', kind) as target:
        for name, data in members:
            target.writestr(name or 'x', data)


def other_file(draw: random.Random, whole: bytes, path: Path) -> None:
    """No checkpoint at all, or no file."""
    change = draw.randrange(10)
    if change == 0:
        os.mkfifo(path)
    elif change == 1:
        path.mkdir()
    elif change == 2:
        path.symlink_to(draw.choice([path.name, '/dev/zero', 'nowhere', '/dev/null', '/proc/self/mem']))
    elif change == 3:
        torch.save(draw.choice([None, 3, 'x', [], {}, torch.ones(2), [torch.ones(2)]]), path)
    elif change == 4:
        path.write_bytes(gzip.compress(whole))
    elif change == 5:
        torch.save(content_of(whole), path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    elif change == 6:
        path.write_bytes(pickle.dumps(draw.choice([None, 3, {'params': 3}, b'x' * 100]), protocol=draw.randrange(6)))
    elif change != 7:
        path.write_bytes(
            draw.choice([b'', b'\0' * 100, b'hello', draw.randbytes(5000), b'\x89PNG\r\n\x1a\n' + bytes(99)])
        )


def safetensors(draw: random.Random, whole: bytes, path: Path) -> None:
    """The other format under this name, or with its header or end spoilt under its own."""
    data = bytearray(save({key: value.contiguous() for key, value in content_of(whole)['params'].items()}))
    for _ in range(draw.choice([0, 1, 8])):
        data[draw.randrange(draw.choice([9, 300, len(data)]))] = draw.randrange(256)
    path.write_bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])


#: By name.
FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        bit, many_bytes, cut, cut_inside, meta_value, meta_arch, meta_keys, exchanged, dtype, odd_tensor, not_finite,
        code, zipped, other_file, safetensors,
    )
}  # fmt: skip
