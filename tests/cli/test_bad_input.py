"""Every kind of wrong input ends before training: status 2, one clear message, no traceback, nothing written."""

from __future__ import annotations

import os
import pickle
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from basicsr.archs.edsr_arch import EDSR

from fsr_plugins.cli import main
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

Options = dict[str, Any]
Change = Callable[[Path, Options], None]


def put(dotted: str, value: Any) -> Change:
    """A change that sets an option."""

    def change(folder: Path, values: Options) -> None:
        *around, last = dotted.split('.')
        block = values
        for key in around:
            block = block.setdefault(key, {})
        block[last] = value

    return change


def empty_folder(folder: Path, values: Options) -> None:
    shutil.rmtree(folder / 'faces')
    (folder / 'faces').mkdir()


def broken_image(folder: Path, values: Options) -> None:
    file = folder / 'faces' / '3.png'
    file.write_bytes(file.read_bytes()[:60])


def small_image(folder: Path, values: Options) -> None:
    cv2.imwrite(str(folder / 'faces' / '3.png'), np.zeros((24, 12, 3), np.uint8))


def odd_size(folder: Path, values: Options) -> None:
    tiny.write_faces(folder / 'held', 2, 26)


def paired(folder: Path, values: Options) -> Path:
    lq = tiny.write_faces(folder / 'lq', 5, 6)
    values['datasets']['val']['dataroot_lq'] = 'lq'
    return lq


def duplicate(folder: Path, values: Options) -> None:
    lq = paired(folder, values)
    cv2.imwrite(str(lq / '2.jpg'), np.zeros((6, 6, 3), np.uint8))


def missing_pair(folder: Path, values: Options) -> None:
    (paired(folder, values) / '2.png').unlink()


def unfit_pair(folder: Path, values: Options) -> None:
    cv2.imwrite(str(paired(folder, values) / '2.png'), np.zeros((8, 8, 3), np.uint8))


def truncated_lmdb(folder: Path, values: Options) -> None:
    path = folder / 'faces.lmdb'
    image = np.zeros((24, 24, 3), np.uint8)
    write_lmdb(path, [Face(str(number), image, None, None, None) for number in range(40)])
    os.truncate(path / 'data.mdb', 20000)
    values['datasets']['train']['dataroot_gt'] = 'faces.lmdb'


def weights(save: Callable[[Path], None]) -> Change:
    """A change that gives net_g the file that ``save`` writes."""

    def change(folder: Path, values: Options) -> None:
        save(folder / 'w.pth')
        values['path'] = {'pretrain_network_g': 'w.pth'}

    return change


def save_other_arch(path: Path) -> None:
    torch.save({'params': EDSR(3, 3, num_feat=8, num_block=1, upscale=4).state_dict()}, path)


class Code:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ('ran', 'w')


def save_code(path: Path) -> None:
    with path.open('wb') as file:
        pickle.dump({'params': Code()}, file)


def two_stages(first: Options, second: Options) -> Change:
    def change(folder: Path, values: Options) -> None:
        values['stages'] = {'one': first, 'two': second}

    return change


def needs(reference: str) -> Options:
    return {'path': {'pretrain_network_g': reference}}


def experiments_is_a_file(folder: Path, values: Options) -> None:
    (folder / 'experiments').write_text('')


CASES: dict[str, tuple[Change, list[str]]] = {
    'unknown key': (put('train.totl_iter', 3), ['o.yml:', "'train.totl_iter'", "Did you mean 'total_iter'?"]),
    'unknown type': (put('network_g.type', 'EDRS'), ['o.yml:', "'network_g.type'", "Did you mean 'EDSR'?"]),
    'wrong value type': (put('train.optim_g.lr', 'fast'), ['o.yml:', "'train.optim_g.lr' is 'fast'", 'be a number']),
    'bad arguments': (put('network_g.upscale', 5), ['o.yml:', "'network_g' cannot be built", 'scale 5']),
    'missing data folder': (put('datasets.train.dataroot_gt', 'no/faces'), ["'no/faces' does not exist", 'README']),
    'data of nobody': (put('datasets.train.dataroot_gt', '~nobody_here/faces'), ["'~nobody_here/faces' does"]),
    'weights of nobody': (
        put('path', {'pretrain_network_g': '~nobody_here/w.pth'}),
        ["'path.pretrain_network_g'", '~nobody_here/w.pth'],
    ),
    'state of nobody': (put('path', {'resume_state': '~nobody_here/4.state'}), ["no file '~nobody_here/4.state'"]),
    'empty folder': (empty_folder, ["'datasets.train'", 'holds no images']),
    'image does not decode': (broken_image, ['3.png', 'cannot be decoded', 'replace or remove it']),
    'image under the crop': (small_image, ['3.png', '12x24', 'remove them or crop less']),
    'size and scale': (odd_size, ["'datasets.val'", '0.png', '26x26', 'not a multiple of the scale 4']),
    'crop and scale': (put('datasets.train.gt_size', 18), ['18', "not a multiple of 'scale', which is 4"]),
    'duplicate': (duplicate, ['2.jpg', '2.png', 'remove one']),
    'missing pair': (missing_pair, ['2.png', 'has no LR image', 'add it']),
    'pair and scale': (unfit_pair, ['2.png', '8x8', 'divided by the scale 4']),
    'truncated LMDB': (truncated_lmdb, ['faces.lmdb', 'damaged', 'copy it again']),
    'missing weights': (put('path', {'pretrain_network_g': 'no.pth'}), ["'path.pretrain_network_g'", "no.pth"]),
    'weights of another arch': (
        weights(save_other_arch),
        ['w.pth does not fit EDSR', "'conv_first.weight' is (8, 3, 3, 3) in the file, (4, 3, 3, 3)"],
    ),
    'no checkpoint': (weights(lambda path: path.write_bytes(b'<html>')), ['w.pth', 'no checkpoint']),
    'truncated checkpoint': (
        weights(lambda path: (save_other_arch(path), os.truncate(path, 2000))), ['w.pth', 'cut short']
    ),
    'code in a checkpoint': (weights(save_code), ['w.pth', 'it was not run']),
    'experiments is a file': (experiments_is_a_file, ["experiments' is no folder"]),
    'reference to no stage': (two_stages({}, needs('stage:oen/net_g')), ['o.yml:', "Did you mean 'one'?"]),
    'reference to no net': (two_stages({}, needs('stage:one/net_x')), ["has no network 'net_x'"]),
    'stages in a circle': (
        two_stages(needs('stage:two/net_g'), needs('stage:one/net_g')), ['o.yml', 'circle: one -> two -> one']
    ),
    'weights of a stage to come': (
        two_stages({}, {**needs('stage:one/net_g'), 'network_g': {'num_feat': 8}}),
        ["'network_g.num_feat' is 4 there and 8 here"],
    ),
    'weights under no key': (
        lambda folder, values: (
            weights(save_other_arch)(folder, values),
            values['path'].update(param_key_g='parms_ema'),
        )[0],
        ["'path.pretrain_network_g': 'w.pth' has no weights under 'parms_ema'", "Its keys are: 'params'"],
    ),
    'no step': (put('train.accumulate', 5), ["'accumulate', 5, batches", "'total_iter' is 4: no step would be made"]),
    'more threads than any machine has': (put('threads', 10**12), ["'threads' is 1000000000000", 'at most 1024']),
    'more GPUs than there are': (put('num_gpu', 99), ['num_gpu', '99', 'auto']),
    'batch size 0': (put('datasets.train.batch_size_per_gpu', 0), ["'datasets.train.batch_size_per_gpu' is 0"]),
    'code in the option file': (put('name', Code), ['o.yml:1', 'plain data only']),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with images, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces')
    tiny.write_faces(tmp_path / 'held')
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b'' for path in folder.glob('experiments/**/*')}


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Runs ``fsr train`` and returns its message, having seen that it is one and that nothing was written."""
    before = contents(folder)
    capsys.readouterr()
    assert main(['train', '-opt', 'o.yml', *arguments]) == status
    printed = capsys.readouterr()
    assert printed.err.startswith('fsr: error: ')
    assert 'Traceback' not in printed.err + printed.out
    assert contents(folder) == before
    assert not (folder / 'ran').exists()
    return printed.err


@pytest.mark.parametrize('case', CASES)
def test_refused(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = CASES[case]
    values = tiny.options()
    values['datasets']['val']['dataroot_gt'] = 'held'
    change(folder, values)
    if values['name'] is Code:
        (folder / 'o.yml').write_text("name: !!python/object/apply:builtins.open ['ran', 'w']\n")
    else:
        tiny.write_options(folder / 'o.yml', values)
    message = refused(folder, capsys)
    for word in words:
        assert word in message
    assert len(message.splitlines()) == 1


def test_missing_option_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 'o.yml cannot be read' in refused(folder, capsys)


def test_full_disk(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_options(folder / 'o.yml', tiny.options())
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(10**9, 10**9, 1000))
    message = refused(folder, capsys, status=1)
    assert 'make room' in message
    assert 'tiny' in message


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_unwritable_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_options(folder / 'o.yml', tiny.options())
    (folder / 'experiments').mkdir(mode=0o555)
    assert 'may not be written to' in refused(folder, capsys)


def test_a_stage_folder_that_is_a_file_is_called_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_options(folder / 'o.yml', tiny.options())
    stage = folder / 'experiments/tiny/train'
    stage.parent.mkdir(parents=True)
    stage.write_text('mine')
    message = refused(folder, capsys)
    assert f"'{stage}' is no folder. Move it away, or choose another name." in message and 'room' not in message


def test_options_changed_under_a_finished_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_options(folder / 'o.yml', tiny.options())
    assert main(['train', '-opt', 'o.yml']) == 0
    message = refused(folder, capsys, '--set', 'train.optim_g.lr=2e-4')
    assert "Stage 'train'" in message
    assert 'train.optim_g.lr: 0.0001 -> 0.0002' in message
    assert main(['train', '-opt', 'o.yml']) == 0  # unchanged, it is skipped
