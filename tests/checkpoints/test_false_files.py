"""Files that say false things of themselves: refused before anything is allocated."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_adapter
import torch
from broken import changed, refused
from torch import Tensor

import fsr_plugins
from fsr_plugins.archs.recognition import make_recogniser
from fsr_plugins.checkpoints import Training, describe, load_state, load_weights, save_network
from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY, build_network

SWINIR = {
    'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 8,
    'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
}  # fmt: skip


# ---- what a file says of itself --------------------------------------------------------------------------------------

META: dict[str, tuple[Any, str]] = {
    'format': (99, 'must be 1'),
    'requires': (['tiling'], "'meta.requires'"),
    'channels': ('BGR', "'BGR', but must be 'RGB'"),
    'range': ([0.0, 255.0], 'must be [0.0, 1.0]'),
    'scale': (0, "'meta.scale' is 0"),
    'arch': ([], "'meta.arch' is a list"),
    'arch.type': (['EDSR'], "'meta.arch.type' is a list"),
    'sizes': ({'train': 0}, "'meta.sizes.train"),
    'manifests': ({'train': [{'size': [16]}]}, "'meta.manifests.train.0.size"),
    'iteration': (True, "'meta.iteration' is True"),
    'degradation': ([1], "'meta.degradation"),
    'adapted': (3, "'meta.adapted' is 3"),
    'versions': ({'torch': 2}, "'meta.versions.torch' is 2"),
    'experiment': (torch.ones(2), 'holds a Tensor; only plain values are read'),
    'net': (['x' * 100_000], "'meta.net' is a list"),
    'gains_from': ('0.5', "'meta.gains_from' is '0.5', but must be a number"),
    'gains_up_to': (True, "'meta.gains_up_to' is True, but must be a number"),
}


@pytest.mark.parametrize('key', META)
def test_what_cannot_be_or_is_not_understood_is_refused(key: str, file: Path) -> None:
    value, said = META[key]

    def put(content: dict[str, Any]) -> None:
        *around, last = key.split('.')
        (content['meta'][around[0]] if around else content['meta'])[last] = value

    changed(file, put)
    refused(file, "its 'meta", said)
    with pytest.raises(UserError, match="its 'meta"):
        load_weights(tiny_adapter.TinyAdaptNet(4), 'net.pth')


@pytest.mark.parametrize(
    'points',
    [
        *([[1.0, 2.0]] * 5, [[1.0, 2.0], [3.0, 4.0]], [[1.0]] * 5, [[float('nan'), 1.0]] * 5, 'abcde', [[1, 2, 3]] * 5),
        [['1', '2'], ['3', '4'], ['5', '6'], ['7', '8'], ['9', '1']],
    ],
)  # fmt: skip
def test_points_that_are_none_of_a_face_are_refused(points: Any, file: Path) -> None:
    changed(file, lambda content: content['meta'].update(manifests={'train': [{'size': [16, 16], 'points': points}]}))
    refused(file, "'meta.manifests.train.0.points")


def test_nesting_and_keys_are_bounded(file: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {'a': deep}
    changed(file, lambda content: content['meta'].update(degradation=deep))
    refused(file, 'nested too deep')
    changed(file, lambda content: content['meta'].update(degradation={(1, 2): 3}))
    refused(file, 'a key that is a tuple')
    changed(file, lambda content: content['meta'].update(degradation={'x' * 10_000: 3}))
    refused(file, 'a key of more than 200 letters')


def test_more_may_be_said_and_less(file: Path) -> None:
    changed(file, lambda content: content['meta'].update(history=[{'from': 3}]))
    assert vars(fsr_plugins.load(file))['meta']['history'] == [{'from': 3}]
    changed(file, lambda content: content.update(meta={'arch': content['meta']['arch']}))
    assert fsr_plugins.load(file)


@pytest.mark.parametrize('value', [10**5, 10**9, 10**12, 10**30, -1, 'x', None, [4]])
@pytest.mark.parametrize('key', ['num_feat', 'num_block'])
def test_arguments_of_another_network_take_no_memory(key: str, value: Any, file: Path) -> None:
    save_network(file, {'params': build_network(tiny.EDSR)}, describe('net_g', tiny.EDSR, 0, Training(scale=4)))
    changed(file, lambda content: content['meta']['arch'].update({key: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize(
    'change',
    [
        *({'embed_dim': 10**9}, {'depths': [10**9]}, {'img_size': 10**9}, {'mlp_ratio': 1e12}),
        # Masks and positions, which are reckoned with before anything is registered.
        *({'img_size': 9_000}, {'img_size': 9_000, 'window_size': 9_000}, {'upscale': 1 << 10}),
    ],
)
def test_a_network_that_needs_memory_to_be_built_is_bounded(change: dict[str, Any], file: Path) -> None:
    net = build_network(SWINIR)
    save_network(file, {'params': net}, describe('net_g', SWINIR, 0, Training(scale=2)))
    loaded = fsr_plugins.load(file)
    assert all(tensor.equal(loaded.state_dict()[key]) for key, tensor in net.state_dict().items())
    changed(file, lambda content: content['meta']['arch'].update(change))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(file, 'does not hold the weights of SwinIR')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes have names here')
@pytest.mark.parametrize('place', ['top', 'inside'])
def test_no_argument_names_a_device_or_a_pipe(place: str, file: Path, tmp_path: Path) -> None:
    pipe = str(tmp_path / 'pipe')
    os.mkfifo(pipe)  # to read it would never end
    arguments = {'load_path': pipe} if place == 'top' else {'load_path': [{'file': pipe}]}
    changed(file, lambda content: content['meta'].update(arch={'type': 'SpyNet', **arguments}))
    refused(file, "pipe' among them is a device or a pipe of this machine")


def test_random_numbers_are_drawn_as_if_the_network_were_built_once(file: Path) -> None:
    torch.manual_seed(0)
    build_network(tiny_adapter.ARCH)
    expected = torch.rand(3)
    torch.manual_seed(0)
    fsr_plugins.load(file)
    assert torch.rand(3).equal(expected)


def test_a_recognisers_file_is_checked_like_any_other(tmp_path: Path) -> None:
    block = {'type': 'MobileFaceNet'}
    file = tmp_path / 'r.pth'
    torch.save({'params': {'x': torch.ones(1)}, 'meta': {'format': 99, 'arch': block}}, file)
    with pytest.raises(UserError, match=r"r\.pth.*'meta\.format' is 99"):
        make_recogniser({**block, 'path': str(file)})


class Call:
    """Read, it becomes what a function returns."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


CALLS = {
    'zeros': Call(bytearray, 1 << 30),
    'copies': Call(
        torch._utils._rebuild_device_tensor_from_cpu_tensor, torch.zeros(1).expand(1 << 27), torch.float64, 'cpu', False
    ),
}


@pytest.mark.parametrize('form', ['zip', 'legacy'])
@pytest.mark.parametrize('case', CALLS)
def test_a_small_file_asks_for_no_large_memory(case: str, form: str, file: Path) -> None:
    content = {**torch.load(file, weights_only=True), 'more': CALLS[case]}
    torch.save(content, file, _use_new_zipfile_serialization=form == 'zip')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(file, 'is no checkpoint of tensors and plain values')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    torch.save({'mine': bytearray(3)}, file)
    assert torch.load(file, weights_only=True) == {'mine': bytearray(3)}


def test_threads_that_read_at_once_do_not_allow_it_to_each_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_reads, load, allowed = threading.Event(), torch.load, []

    def slow(*arguments: Any, **options: Any) -> Any:
        first_reads.set()
        time.sleep(0.1 * (1 + len(allowed)))
        allowed.append('builtins.bytearray' in torch._weights_only_unpickler._get_allowed_globals())
        return load(*arguments, **options)

    monkeypatch.setattr(torch, 'load', slow)
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(load_state, file)]
        assert first_reads.wait(20)
        time.sleep(0.05)
        done.append(threads.submit(load_state, file))
        assert [sorted(each.result()) for each in done] == 2 * [sorted(torch.load(file, weights_only=True))]
    assert allowed[:2] == [False, False]


def test_values_nested_without_end_are_refused_soon(file: Path) -> None:
    deep: list[Any] = [torch.zeros(1)]
    for _ in range(300):
        deep = [deep]
    changed(file, lambda content: content.update(more=deep))
    refused(file, 'nested too deep')


def test_prefixes_without_end_are_not_cut_off_one_by_one(file: Path) -> None:
    torch.save({'module.' * 100_000 + 'weight': torch.zeros(1, 1)}, file)
    with pytest.raises(UserError, match='does not fit'):
        load_weights(torch.nn.Linear(1, 1, bias=False), str(file))


# ---- tensors ---------------------------------------------------------------------------------------------------------

ODD: dict[str, tuple[Callable[[Tensor], object], str]] = {
    'sparse': (lambda tensor: tensor.to_sparse(), 'a sparse tensor'),
    'quantised': (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), 'a quantised tensor'),
    'nested': (lambda tensor: torch.nested.nested_tensor([tensor, tensor]), 'a nested tensor'),
    'expanded': (lambda tensor: torch.zeros(1).expand(10**6, 10**6), 'large, but its data is not'),
    'without data': (lambda tensor: tensor.to('meta'), 'a tensor without data'),
    'whole numbers': (lambda tensor: tensor.long(), 'torch.int64 in the file, torch.float32 in the network'),
    'complex': (lambda tensor: tensor.to(torch.complex64), 'torch.complex64 in the file'),
    'no tensor': (lambda tensor: 3, 'is an int, no tensor'),
}


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('kind', ODD)
def test_tensors_of_another_kind_are_refused(kind: str, file: Path) -> None:
    make, said = ODD[kind]
    changed(file, lambda content: content['params'].update({'body.bias': make(content['params']['body.bias'])}))
    refused(file, "body.bias'", said)


@pytest.mark.parametrize('name', [3, None, (1, 2), b'x'])
def test_names_that_are_no_text_are_refused(name: object, file: Path) -> None:
    changed(file, lambda content: content['params'].update({name: content['params'].pop('body.bias')}))
    refused(file, 'The name of a tensor in it is no text')


def test_long_names_are_shown_in_one_line(file: Path) -> None:
    name = 'a\n' * 5000
    changed(file, lambda content: content['params'].update({name: content['params'].pop('body.bias')}))
    refused(file, r"'a\na\na")


def test_half_precision_is_read(file: Path) -> None:
    changed(file, lambda content: content.update(params={k: t.half() for k, t in content['params'].items()}))
    assert fsr_plugins.load(file).get_parameter('body.bias').dtype == torch.float32


def test_what_is_no_network_of_this_toolkit_is_named_with_its_keys(tmp_path: Path) -> None:
    torch.save({'state_dict': {'conv.weight': torch.ones(1)}, 'epoch': 3}, tmp_path / 'theirs.pth')
    refused(tmp_path / 'theirs.pth', "no 'meta'", "'state_dict', 'epoch'")


def test_what_a_file_lacks_is_what_is_said(file: Path) -> None:
    changed(file, lambda content: content['meta'].pop('arch'))
    refused(file, "its 'meta' has no 'arch'")
    changed(file, lambda content: content['meta'].update(arch={'type': 'EDSR'}) or content.pop('params'))
    refused(file, "neither 'params' nor 'params_ema'")


def test_what_is_registered_and_no_network_is_refused(file: Path) -> None:
    def NoNetwork() -> int:
        return 3

    ARCH_REGISTRY.register(NoNetwork)
    try:
        changed(file, lambda content: content['meta'].update(arch={'type': 'NoNetwork'}))
        refused(file, "'NoNetwork' is no network")
    finally:
        del ARCH_REGISTRY._obj_map['NoNetwork']
