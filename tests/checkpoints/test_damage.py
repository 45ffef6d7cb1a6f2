"""Damaged, false and diverged files: refused with one message, before anything is made of them."""

from __future__ import annotations

import io
import os
import random
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_adapter
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import fsr_plugins
from fsr_plugins.archs.recognition import make_recogniser
from fsr_plugins.checkpoints import describe, load_state, load_weights, read_weights, save_network, write_tensors
from fsr_plugins.checkpoints import load as load_network
from fsr_plugins.cli import main
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.registry import ARCH_REGISTRY, build_network
from fsr_plugins.stores.images import encode_png
from fsr_plugins.weights import file_sha256

SWINIR = {
    'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 8,
    'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``net.pth``, a network of this version in the working directory, beside ``lr.png`` and ``hr.png``."""
    monkeypatch.chdir(tmp_path)
    for name, side in (('lr', 8), ('hr', 16)):
        Path(f'{name}.png').write_bytes(encode_png(np.full((side, side, 3), 90, np.uint8)))
    return tiny_adapter.write_checkpoint(Path('net.pth'))


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Writes the file again with another content; how every message begins that is about it."""
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    return f"'{file}'"


def refused(file: Path, *parts: str) -> None:
    """``fsr_plugins.load`` refuses the file with one line."""
    with pytest.raises(UserError) as caught:
        fsr_plugins.load(file)
    message = str(caught.value)
    assert '\n' not in message and len(message) < 700
    assert [part for part in (str(file), *parts) if part not in message] == [], message


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('count', [1, 64])
def test_flipped_bits_are_noticed_or_change_nothing(count: int, file: Path) -> None:
    whole, draw, noticed = file.read_bytes(), random.Random(count), 0
    expected = torch.load(io.BytesIO(whole), weights_only=True)
    for _ in range(40):
        spoilt = bytearray(whole)
        for _ in range(count):
            spoilt[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        file.write_bytes(spoilt)
        try:
            found = load_state(file)
        except UserError:
            noticed += 1
            continue
        assert found['meta'] == expected['meta']
        assert all(found['params'][key].equal(tensor) for key, tensor in expected['params'].items())
    # The rest lies between the members, or says what nobody reads: dates, attributes.
    assert noticed >= (15 if count == 1 else 40)


def test_every_bit_of_the_weights_counts(file: Path) -> None:
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        (member,) = [info for info in archive.infolist() if info.filename.endswith('data/0')]
        start = whole.index(archive.read(member))
    for place in range(start, start + member.file_size, 37):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(file, "data/0' in it is not what was written (CRC-32)", 'Replace it by a whole copy.')


@pytest.mark.parametrize('change', ['compressed', 'doubled', 'before', 'after', 'cut'])
def test_an_archive_of_another_form_is_refused(change: str, file: Path) -> None:
    whole = file.read_bytes()
    if change in ('compressed', 'doubled'):
        with zipfile.ZipFile(file) as source:
            members = [(info.filename, source.read(info)) for info in source.infolist()]
        kind = zipfile.ZIP_DEFLATED if change == 'compressed' else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, 'w', kind) as target:
            for name, data in members + (members[-1:] if change == 'doubled' else []):
                target.writestr(name, data)
    else:
        file.write_bytes({'before': whole[:4] + whole, 'after': whole + b'x', 'cut': whole[:-30]}[change])
    refused(file, 'Replace it by a whole copy.')


@pytest.mark.parametrize('form', ['zip', 'legacy', 'safetensors'])
def test_a_known_digest_is_compared(form: str, tmp_path: Path) -> None:
    net = nn.Conv2d(3, 4, 1)
    file = tmp_path / f'net.{"safetensors" if form == "safetensors" else "pth"}'
    if form == 'safetensors':
        save_file(net.state_dict(), file)
    else:
        torch.save(net.state_dict(), file, _use_new_zipfile_serialization=form == 'zip')
    digest = file_sha256(file)
    assert load_state(file, sha256=digest)['bias'].equal(net.bias)
    load_weights(net, str(file), sha256=digest[:8].upper())
    data = bytearray(file.read_bytes())
    place = bytes(data).index(net.weight.detach().numpy().tobytes())
    data[place] ^= 1
    file.write_bytes(data)
    for read in (load_state, read_weights):
        with pytest.raises(UserError, match=rf"{file.name}' is damaged or another file: .* not {digest[:8]}"):
            read(file, sha256=digest)


def test_the_digest_of_a_network_is_compared(file: Path) -> None:
    assert load_network(file, sha256=file_sha256(file)).training is False
    with pytest.raises(UserError, match='SHA-256'):
        load_network(file, sha256='0' * 64)


def test_a_local_file_is_not_to_be_fetched_again(tmp_path: Path) -> None:
    for name in ('cut.pth', 'cut.safetensors'):
        (tmp_path / name).write_bytes(b'x' * 50)
        with pytest.raises(UserError) as caught:
            load_state(tmp_path / name)
        assert name in str(caught.value) and 'fetch' not in str(caught.value)


def test_what_is_no_file_is_not_waited_for(file: Path) -> None:
    os.mkfifo('pipe.pth')
    refused(Path('pipe.pth'), 'is no file')


# ---- no finite numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
@pytest.mark.parametrize(
    'command',
    [
        ('infer', '-o', 'out', 'lr.png'),
        ('export', '-o', 'net.pt2', '--size', '8', '8'),
        ('adapt', '-o', 'a.pth', '--exemplar', 'hr.png'),
    ],
)  # fmt: skip
def test_weights_that_are_no_finite_numbers_end_every_command(
    command: tuple[str, ...], value: float, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(file, lambda content: content['params']['style.bias'].fill_(value))
    refused(file, 'no finite numbers', "'style.bias'")
    before = set(Path().rglob('*'))
    assert main([command[0], '-c', 'net.pth', *command[1:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith('fsr: error: ') and said.count('\n') == 1 and "'style.bias'" in said
    assert set(Path().rglob('*')) == before


def test_weights_that_are_no_finite_numbers_are_not_handed_over(file: Path) -> None:
    changed(file, lambda content: content['params']['body.weight'].view(-1)[5].fill_(float('nan')))
    for strict in (True, False):
        with pytest.raises(UserError, match="'body.weight'"):
            load_weights(tiny_adapter.TinyAdaptNet(4), 'net.pth', strict=strict)


def test_numbers_beyond_the_networks_precision_are_refused(file: Path) -> None:
    changed(file, lambda content: content['params'].update({'body.bias': torch.full((4,), 1e300, dtype=torch.float64)}))
    refused(file, 'no finite numbers', "'body.bias'")


def test_averaged_weights_are_read_beside_diverged_ones(file: Path) -> None:
    def diverge(content: dict[str, Any]) -> None:
        content['params_ema'] = {key: tensor.clone() for key, tensor in content['params'].items()}
        content['params']['body.bias'].fill_(float('nan'))

    changed(file, diverge)
    assert fsr_plugins.load(file).get_parameter('body.bias').isfinite().all()


def test_a_result_that_is_no_finite_number_is_not_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed(file, lambda content: [tensor.fill_(3e38) for tensor in content['params'].values()])
    assert main(['infer', '-c', 'net.pth', '-o', 'out', '--size', '8', '8', 'lr.png']) == 2
    assert 'makes values that are no finite numbers' in capsys.readouterr().err
    assert not Path('out/lr.png').exists()


def test_only_finite_numbers_are_written_and_with_their_digest(tmp_path: Path) -> None:
    file, net = tmp_path / 'net.pth', nn.Conv2d(3, 4, 1)
    assert save_network(file, {'params': net}, {'arch': {}}) == file_sha256(file)
    before = file.read_bytes()
    for value in (float('nan'), float('inf')):
        net.bias.data[1] = value
        with pytest.raises(RunError, match=r'net\.pth is not written: params\.bias holds values that are no finite'):
            save_network(file, {'params': net}, {'arch': {}})
        with pytest.raises(RunError, match=r'optimizers\.0\.state\.3'):
            write_tensors(file, {'optimizers': [{'state': {3: net.bias.data.half()}}]})
    assert file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ['net.pth']
    finite = {'a': torch.zeros(0), 'b': torch.tensor(65504.0).half(), 'c': torch.tensor([1 + 2j]), 'd': [float('inf')]}
    assert write_tensors(file, {**finite, 'e': torch.ones(2).to(torch.float8_e5m2)}) == file_sha256(file)


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
    [[[1.0, 2.0]] * 5, [[1.0, 2.0], [3.0, 4.0]], [[1.0]] * 5, [[float('nan'), 1.0]] * 5, 'abcde', [[1, 2, 3]] * 5],
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


def test_more_may_be_said_and_less(file: Path) -> None:
    changed(file, lambda content: content['meta'].update(history=[{'from': 3}]))
    assert vars(fsr_plugins.load(file))['meta']['history'] == [{'from': 3}]
    changed(file, lambda content: content.update(meta={'arch': content['meta']['arch']}))
    assert fsr_plugins.load(file)


@pytest.mark.parametrize('value', [10**5, 10**9, 10**12, 10**30, -1, 'x', None, [4]])
@pytest.mark.parametrize('key', ['num_feat', 'num_block'])
def test_arguments_of_another_network_take_no_memory(key: str, value: Any, file: Path) -> None:
    save_network(file, {'params': build_network(tiny.EDSR)}, describe({'scale': 4}, 'net_g', tiny.EDSR, 0))
    changed(file, lambda content: content['meta']['arch'].update({key: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize(
    'change', [{'embed_dim': 10**9}, {'depths': [10**9]}, {'img_size': 10**9}, {'mlp_ratio': 1e12}]
)
def test_a_network_that_needs_memory_to_be_built_is_bounded(change: dict[str, Any], file: Path) -> None:
    net = build_network(SWINIR)
    save_network(file, {'params': net}, describe({'scale': 2}, 'net_g', SWINIR, 0))
    loaded = fsr_plugins.load(file)
    assert all(tensor.equal(loaded.state_dict()[key]) for key, tensor in net.state_dict().items())
    changed(file, lambda content: content['meta']['arch'].update(change))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(file, 'does not hold the weights of SwinIR')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


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


# ---- tensors ---------------------------------------------------------------------------------------------------------

ODD: dict[str, tuple[Callable[[Tensor], object], str]] = {
    'sparse': (lambda tensor: tensor.to_sparse(), 'a sparse tensor'),
    'quantised': (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), 'a quantised tensor'),
    'nested': (lambda tensor: torch.nested.nested_tensor([tensor, tensor]), 'a nested tensor'),
    'expanded': (lambda tensor: torch.zeros(1).expand(10**6, 10**6), 'large, but its data is not'),
    'without data': (lambda tensor: tensor.to('meta'), 'a tensor without data'),
    'whole numbers': (lambda tensor: tensor.long(), 'torch.int64 in the file, torch.float32 in the network'),
    'complex': (lambda tensor: tensor.to(torch.complex64), 'torch.complex64 in the file'),
    'no tensor': (lambda tensor: 3, 'is a int, no tensor'),
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


def test_what_is_registered_and_no_network_is_refused(file: Path) -> None:
    def NoNetwork() -> int:
        return 3

    ARCH_REGISTRY.register(NoNetwork)
    try:
        changed(file, lambda content: content['meta'].update(arch={'type': 'NoNetwork'}))
        refused(file, "'NoNetwork' is no network")
    finally:
        del ARCH_REGISTRY._obj_map['NoNetwork']
