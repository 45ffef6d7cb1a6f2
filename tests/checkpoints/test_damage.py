"""Damaged and diverged files: refused with one message by all that reads them, and not written."""

from __future__ import annotations

import copy
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_adapter
import torch
from broken import changed, refused
from safetensors.torch import save_file
from torch import nn

import fsr_plugins
from fsr_plugins.checkpoints import load as load_network
from fsr_plugins.checkpoints import load_state, load_weights, read_weights, reading, save_network, write_weights
from fsr_plugins.cli import main
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.weights import file_sha256

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


def test_what_lies_in_one_place_under_many_names_is_refused(file: Path) -> None:
    torch.save({str(number): torch.ones(2500) for number in range(50)}, file)
    with zipfile.ZipFile(file) as source:
        members = [(info.filename, source.read(info)) for info in source.infolist()]
    with zipfile.ZipFile(file, 'w') as target:
        for name, data in members:
            folder, _, number = name.rpartition('/data/')
            if not folder or number == '0':
                target.writestr(name, data)
                continue
            again = copy.copy(target.getinfo(f'{folder}/data/0'))
            again.filename = name
            target.filelist.append(again)
    assert file.stat().st_size < 100_000
    refused(file, 'its directory names more than it holds')


@pytest.mark.parametrize('form', ['pth', 'safetensors'])
def test_what_was_checked_is_what_is_read_and_stays(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may put a file in the place of the one that is being read, or write into it afterwards."""
    save = save_file if form == 'safetensors' else torch.save
    file, other = tmp_path / f'net.{form}', tmp_path / f'other.{form}'
    save({'weight': torch.zeros(4)}, file)
    save({'weight': torch.ones(4)}, other)
    compare = reading._check_digest

    def replaced_behind_it(*arguments: Any) -> None:
        compare(*arguments)
        os.replace(other, file)

    with monkeypatch.context() as patch:
        patch.setattr(reading, '_check_digest', replaced_behind_it)
        assert load_state(file, sha256=file_sha256(file))['weight'].eq(0).all()
    state = load_state(file)
    file.write_bytes(bytes(file.stat().st_size))
    assert state['weight'].eq(1).all()


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


def test_links_in_a_circle_are_no_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path('loop.pth').symlink_to('loop.pth')
    refused(Path('loop.pth'), 'There is no weight file')
    assert main(['adapt', '-c', 'loop.pth', '-o', 'a.pth', '--exemplar', 'hr.png']) == 2
    assert "no weight file 'loop.pth'" in capsys.readouterr().err


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
    assert save_network(file, {'params': net}, {}) == file_sha256(file)
    before = file.read_bytes()
    for value in (float('nan'), float('inf')):
        net.bias.data[1] = value
        with pytest.raises(RunError, match=r'net\.pth is not written: params\.bias holds values that are no finite'):
            save_network(file, {'params': net}, {})
        with pytest.raises(RunError, match=r'optimizers\.0\.state\.3'):
            write_weights(file, {'optimizers': [{'state': {3: net.bias.data.half()}}]})
    assert file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ['net.pth']
    finite = {'a': torch.zeros(0), 'b': torch.tensor(65504.0).half(), 'c': torch.tensor([1 + 2j]), 'd': [float('inf')]}
    assert write_weights(file, {**finite, 'e': torch.ones(2).to(torch.float8_e5m2)}) == file_sha256(file)


def test_a_file_that_no_reader_takes_is_not_written(tmp_path: Path) -> None:
    net = nn.Linear(1, 1)
    meta = {'format': 1, 'arch': {'type': 'EDSR'}, 'manifests': {'train': [{'count': np.int64(3)}]}}
    with pytest.raises(RunError, match=r"n\.pth is not written.*its 'meta' holds an int64"):
        save_network(tmp_path / 'n.pth', {'params': net}, meta)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('content', 'said'),
    [(b'', 'is empty: replace it'), (b'hello\n', 'is no checkpoint, or it is cut short: replace it')],
)
def test_what_is_no_checkpoint_is_said_in_words(content: bytes, said: str, tmp_path: Path) -> None:
    for name in ('notes.txt', 'net.pth'):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}' {said}"):
            load_state(tmp_path / name)
