"""``fsr adapt`` with a network and a model of the test's own: no part of the command knows a method."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
from collections import namedtuple
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import tiny_adapter
import torch

import fsr_plugins
from fsr_plugins.checkpoints import Training, describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.registry import build_network

COMMAND = ['adapt', '-c', 'source.pth', '-o', 'out.pth']


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a checkpoint and exemplars ``0.png`` …; ``grey.jpg`` has one channel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny_adapter.write_checkpoint(tmp_path / 'source.pth')
    tiny.write_faces(tmp_path, 3, tiny_adapter.SIZE)
    cv2.imwrite(str(tmp_path / 'grey.jpg'), np.full((tiny_adapter.SIZE, tiny_adapter.SIZE), 90, np.uint8))
    return tmp_path


def adapted(*more: str) -> dict[str, Any]:
    assert main([*COMMAND, *more]) == 0
    return torch.load('out.pth', weights_only=True)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() if path.is_file() else b''
        for path in folder.rglob('*')
        if 'cache' not in path.relative_to(folder).parts
    }


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message of a command that leaves everything as it was."""
    before = files(folder)
    capsys.readouterr()
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith('fsr: error: ')
    assert len(printed.err.splitlines()) == 1
    assert 'Traceback' not in printed.err + printed.out
    assert files(folder) == before
    return printed.err


def test_what_it_writes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(folder.iterdir())
    content = adapted('--exemplar', '0.png', 'grey.jpg', '--seed', '5', '--json', 'found.json')
    assert 'adapt_train 3/3' in capsys.readouterr().out
    assert {path.name for path in set(folder.iterdir()) - before} - {'cache'} == {'out.pth', 'out.png', 'found.json'}
    source = torch.load('source.pth', weights_only=True)
    changed = {name for name in source['params'] if not torch.equal(source['params'][name], content['params'][name])}
    assert changed == {'style.weight', 'style.bias'}
    (by,) = content['meta'].pop('adapted')
    assert by == {
        'model': 'TinyAdaptModel',
        'source': sha256('source.pth'),
        'exemplars': [{'name': name, 'sha256': sha256(name)} for name in ('0.png', 'grey.jpg')],
        'seed': 5,
        'iterations': 3,
    }
    assert content['meta'] == source['meta']
    found = json.loads(Path('found.json').read_text())
    assert found['sha256'] == sha256('out.pth')
    assert found['adapted'] == by
    assert cv2.imread('out.png').shape == (tiny_adapter.SIZE, 2 * tiny_adapter.SIZE, 3)


def sha256(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def test_it_loads_and_can_be_adapted_again(folder: Path) -> None:
    adapted('--exemplar', '0.png')
    net = fsr_plugins.load('out.pth')
    assert net(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    assert main(['adapt', '-c', 'out.pth', '-o', 'again.pth', '--exemplar', '1.png']) == 0
    first, second = fsr_plugins.load('again.pth').meta['adapted']
    assert [by['exemplars'][0]['name'] for by in (first, second)] == ['0.png', '1.png']
    assert second['source'] == sha256('out.pth')


def test_the_same_seed_gives_the_same_bytes(folder: Path) -> None:
    def digest(place: Path, seed: str) -> str:
        place.mkdir(exist_ok=True)
        command = ['adapt', '-c', 'source.pth', '-o', f'{place}/out.pth', '--overwrite', '--seed', seed]
        assert main([*command, '--exemplar', '0.png', '1.png']) == 0
        return sha256(f'{place}/out.pth')

    assert digest(folder / 'a', '3') == digest(folder / 'b', '3')
    assert digest(folder / 'a', '3') != digest(folder / 'a', '4')


def test_averaged_weights_are_what_is_adapted(folder: Path) -> None:
    plain, averaged = (build_network(tiny_adapter.ARCH) for _ in range(2))
    opt = {'scale': 2, 'degradation': tiny_adapter.DEGRADATION}
    meta = describe('net_sr', tiny_adapter.ARCH, 0, read_settings(opt).training())
    save_network(Path('source.pth'), {'params': plain, 'params_ema': averaged}, meta)
    assert torch.equal(adapted('--exemplar', '0.png')['params']['body.weight'], averaged.body.weight)


def test_settings_are_changed(folder: Path) -> None:
    content = adapted('--exemplar', '0.png', '--set', 'train.total_iter=1')
    assert content['meta']['adapted'][0]['iterations'] == 1


def test_lr_of_another_kind_is_noted(folder: Path) -> None:
    other = {'type': 'Compose', 'stages': [tiny_adapter.DEGRADATION]}
    content = adapted('--exemplar', '0.png', '--set', f'degradation={json.dumps(other)}')
    assert content['meta']['degradation'] == other != torch.load('source.pth', weights_only=True)['meta']['degradation']


def write_experiment(folder: Path) -> None:
    """An option file whose stage ``adapt`` takes features of what its stage ``judge`` trains."""
    features = {'type': 'TinyAdaptNet', 'path': 'stage:judge/net_g', 'layers': ['body']}
    loss = {'feature_opt': {'type': 'FeatureLoss', 'features': features}}
    other = {'model_type': 'SupervisedModel', 'network_g': tiny_adapter.ARCH}
    own = {'model_type': 'TinyAdaptModel', 'network_sr': tiny_adapter.ARCH, 'train': loss}
    values = {
        'name': 'demo',
        'scale': 2,
        'num_gpu': 0,
        'degradation': tiny_adapter.DEGRADATION,
        'datasets': {'train': {'type': 'FaceDataset', 'dataroot_gt': 'faces', 'batch_size_per_gpu': 1}},
        'train': {**tiny_adapter.TRAIN, 'total_iter': 2},
        'stages': {'judge': other, 'adapt': own},
    }
    tiny.write_options(folder / 'o.yml', values)


def test_settings_of_an_option_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(folder)
    tiny.write_faces(folder / 'faces', 2, tiny_adapter.SIZE)
    command = [*COMMAND, '--exemplar', '0.png', '-opt', 'o.yml']
    assert "stage 'judge', which is not trained yet: run `fsr train -opt o.yml`" in refused(folder, capsys, *command)
    assert main(['train', '-opt', 'o.yml']) == 0
    assert "Did you mean 'adapt'?" in refused(folder, capsys, *command, '--stage', 'adpt')
    assert 'is adapted by TinyAdaptModel' in refused(folder, capsys, *command, '--stage', 'judge')
    assert main(command) == 0
    assert 'l_feature' in capsys.readouterr().out
    assert fsr_plugins.load('out.pth').meta['adapted'][0]['iterations'] == 2


def test_stopped_it_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = tiny_adapter.TinyAdaptModel.step

    def stopping(model: tiny_adapter.TinyAdaptModel) -> None:
        step(model)
        if model.opt['path'].get('models') and model.current_iter == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tiny_adapter.TinyAdaptModel, 'step', stopping)
    before = files(folder)
    assert main([*COMMAND, '--exemplar', '0.png', '--set', 'train.total_iter=1000']) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == (
        'fsr: error: Adapting was stopped; nothing is kept. Give the same command again.\n'
    )
    assert files(folder) == before


def test_a_full_disk_is_told_of_the_output(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(folder)
    command = [*COMMAND, '--exemplar', '0.png']
    usage = namedtuple('usage', 'total used free')
    with monkeypatch.context() as patched:
        patched.setattr(shutil, 'disk_usage', lambda path: usage(10**9, 10**9, 1000))
        assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith('fsr: error: -o out.pth: 0 MB are free, and about ') and '.partial' not in error
    before_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (10, 1000, 3000):  # the exemplar's copy, the options, the training state
        capsys.readouterr()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before_limit[1]))
        try:
            assert main(command) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before_limit)
        error = capsys.readouterr().err
        assert error.startswith('fsr: error: -o out.pth: adapting cannot write there (')
        assert '.partial' not in error and len(error.splitlines()) == 1
    assert files(folder) == before


def test_settings_that_name_weights_nobody_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = 'train.feature_opt={type: FeatureLoss, features: {type: VGG, path: no.pth}}'
    message = refused(folder, capsys, *COMMAND, '--exemplar', '0.png', '--set', features)
    assert "key 'train.feature_opt': The weights of VGG (vgg19) are not at 'no.pth'" in message


def small(folder: Path) -> list[str]:
    cv2.imwrite('small.png', np.zeros((12, 16, 3), np.uint8))
    return ['--exemplar', '0.png', 'small.png']


def deep(folder: Path) -> list[str]:
    cv2.imwrite('deep.png', np.zeros((16, 16, 3), np.uint16))
    return ['--exemplar', 'deep.png']


def broken(folder: Path) -> list[str]:
    Path('0.png').write_bytes(b'no image')
    return ['--exemplar', '0.png']


def not_adaptable(folder: Path) -> list[str]:
    save_network(Path('edsr.pth'), {'params': build_network(tiny.EDSR)}, describe('net_g', tiny.EDSR, 0, Training()))
    return ['-c', 'edsr.pth', '--exemplar', '0.png']


def no_meta(folder: Path) -> list[str]:
    torch.save({'params': {}}, 'bare.pth')
    return ['-c', 'bare.pth', '--exemplar', '0.png']


def taken(folder: Path) -> list[str]:
    Path('out.pth').write_text('mine')
    return ['--exemplar', '0.png']


def picture_taken(folder: Path) -> list[str]:
    Path('out.png').write_text('mine')
    return ['--exemplar', '0.png']


def over_the_exemplar(folder: Path) -> list[str]:
    return ['--exemplar', '0.png', '-o', '0.pth', '--overwrite']


BAD = {
    'another size': (small, ["'small.png' is 16x12", 'must be 16x16']),
    '16 bits': (deep, ['deep.png', '16 bits']),
    'no image': (broken, ['0.png', 'cannot be decoded']),
    'arch without an adapter': (not_adaptable, ['edsr.pth is of EDSR', 'TinyAdaptNet']),
    'not of this toolkit': (no_meta, ['bare.pth does not say what network it holds']),
    'output exists': (taken, ["'out.pth' exists already", '--overwrite']),
    'picture exists': (picture_taken, ["'out.png' exists already", '--overwrite']),
    'would overwrite the exemplar': (over_the_exemplar, ["'0.png' would be written"]),
    'no exemplar': (lambda folder: ['--exemplar', 'nobody.png'], ["There is no exemplar 'nobody.png'"]),
    'no checkpoint': (lambda folder: ['-c', 'no.pth', '--exemplar', '0.png'], ["There is no weight file 'no.pth'"]),
    'no folder': (lambda folder: ['-o', 'no/out.pth', '--exemplar', '0.png'], ["there is no folder 'no'"]),
    'no .pth': (lambda folder: ['-o', 'out.png', '--exemplar', '0.png'], ["ends in '.pth'"]),
    'a stage of no file': (lambda folder: ['--exemplar', '0.png', '--stage', 'adapt'], ['name the file by -opt']),
    'no option file': (lambda folder: ['-opt', 'no.yml', '--exemplar', '0.png'], ['no.yml cannot be read']),
    'unknown setting': (
        lambda folder: ['--exemplar', '0.png', '--set', 'train.totl_iter=2'],
        ["--set train.totl_iter=2: key 'train.totl_iter'", "Did you mean 'total_iter'?"],
    ),
    'wrong value': (lambda folder: ['--exemplar', '0.png', '--set', 'train.total_iter=many'], ["is 'many'"]),
    'what follows from the checkpoint': (
        lambda folder: ['--exemplar', '0.png', '--set', 'network_sr.num_feat=8'], ["may not change 'network_sr'"]
    ),
    'negative seed': (
        lambda folder: ['--exemplar', '0.png', '--seed', '-1'], ["error: --seed -1: key 'manual_seed' is -1"]
    ),
    'a folder': (lambda folder: ['--exemplar', '.'], ["The exemplar '.' is a folder"]),
    'no YAML': (
        lambda folder: ['--exemplar', '0.png', '--set', 'train.total_iter=['],
        ['error: --set train.total_iter=[: not readable as YAML'],
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD)
def test_refused(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, words = BAD[case]
    message = refused(folder, capsys, *COMMAND, *make(folder))
    for word in words:
        assert word in message
