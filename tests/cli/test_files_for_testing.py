"""``fsr test`` by BasicSR's files for testing: figures as BasicSR's, pictures under its names."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model

from fsr_plugins.cli import main
from fsr_plugins.registry import build_network, load_plugins

SWINIR = {
    'type': 'SwinIR', 'upscale': 4, 'in_chans': 3, 'img_size': 16, 'window_size': 8, 'img_range': 1.0,
    'depths': [2], 'embed_dim': 12, 'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffle',
}  # fmt: skip
ECBSR = {
    'type': 'ECBSR', 'num_in_ch': 1, 'num_out_ch': 1, 'num_block': 1, 'num_channel': 4, 'with_idt': False,
    'act_type': 'prelu', 'scale': 4,
}  # fmt: skip
PAIRED = {
    'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq', 'filename_tmpl': '{}x4',
    'io_backend': {'type': 'disk'},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smooth images of two sizes, HR 3 rows and 1 column larger than LR times 4, and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    numbers = np.random.default_rng(0)
    for folder in ('gt', 'lq'):
        Path(folder).mkdir()
    for name, (height, width) in {'a': (51, 52), 'b': (50, 53), 'c': (51, 52)}.items():
        coarse = numbers.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        cv2.imwrite(f'lq/{name}x4.png', cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
        large = cv2.resize(coarse, (4 * width + 1, 4 * height + 3), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(f'gt/{name}.png', large)


def options(model: str, network: dict[str, Any], **more: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.save({'params': build_network(network).state_dict()}, 'net.pth')
    return {
        'name': 'released', 'model_type': model, 'scale': 4, 'num_gpu': 0, 'manual_seed': 0,
        'datasets': {'test_1': {'name': 'pairs', **PAIRED}}, 'network_g': network,
        'path': {'pretrain_network_g': 'net.pth', 'strict_load_g': True},
        'val': {
            'save_img': True, 'suffix': None,
            'metrics': {
                'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
                'ssim': {'type': 'calculate_ssim', 'crop_border': 4, 'test_y_channel': False},
            },
        },
        **more,
    }  # fmt: skip


def measured(opt: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    tiny.write_options(Path('o.yml'), opt)
    assert main(['test', '-opt', 'o.yml', '--json', 'out.json']) == 0
    return json.loads(Path('out.json').read_text(encoding='utf-8'))['validation']


def basicsrs(opt: dict[str, Any]) -> tuple[dict[str, float], Path]:
    """BasicSR's own figures on the first set, and the folder of its pictures."""
    load_plugins()
    opt = copy.deepcopy({**opt, 'is_train': False, 'dist': False, 'rank': 0, 'world_size': 1})
    opt['path']['visualization'] = 'theirs'
    opt['datasets']['test_1'] |= {'phase': 'test', 'scale': opt['scale']}
    loader = build_dataloader(build_dataset(opt['datasets']['test_1']), opt['datasets']['test_1'], num_gpu=0)
    model = build_model(opt)
    model.validation(loader, current_iter=opt['name'], tb_logger=None, save_img=True)
    return model.metric_results, Path('theirs/pairs')


@pytest.mark.parametrize(
    ('model', 'network', 'block'),
    [
        ('SwinIRModel', SWINIR, {}),
        ('SRModel', {**tiny.EDSR}, {}),
        ('ESRGANModel', {**tiny.EDSR}, {}),
        ('SRModel', ECBSR, {'color': 'y'}),
    ],
    ids=['SwinIR', 'EDSR', 'ESRGAN', 'luma'],
)
def test_figures_and_pictures_are_basicsrs(model: str, network: dict[str, Any], block: dict[str, Any]) -> None:
    opt = options(model, network)
    opt['datasets']['test_1'] |= block
    result = measured(opt)['pairs']['result']
    expected, folder = basicsrs(opt)
    assert result == pytest.approx(expected, rel=1e-4)
    theirs = {path.name: path for path in folder.iterdir()}
    ours = {path.name: path for path in Path('results/released/test/visualization/pairs').iterdir()}
    assert ours.keys() == {'a_released.png', 'b_released.png', 'c_released.png'}
    assert {name.replace('x4_', '_') for name in theirs} == ours.keys()
    for name, path in theirs.items():
        image = cv2.imread(str(ours[name.replace('x4_', '_')])).astype(int)
        assert np.abs(image - cv2.imread(str(path))).max() <= 1


def test_a_set_without_hr_gives_pictures_and_metrics_that_need_none(capsys: pytest.CaptureFixture[str]) -> None:
    opt = options('SRModel', {**tiny.EDSR})
    opt['datasets'] = {'test_1': {'name': 'real', 'type': 'SingleImageDataset', 'dataroot_lq': 'lq'}}
    opt['val'] = {'save_img': True, 'suffix': 'sr'}
    assert measured(opt) == {'real': {'bicubic': {}, 'result': {}}}
    folder = Path('results/released/test/visualization/real')
    assert sorted(path.name for path in folder.iterdir()) == ['ax4_sr.png', 'bx4_sr.png', 'cx4_sr.png']
    printed = capsys.readouterr().out
    assert 'real: no figures' in printed and '┃' not in printed
    assert f'Pictures: {folder.parent.resolve()}\n' in printed
    opt['val']['metrics'] = {
        'niqe': {'type': 'calculate_niqe', 'crop_border': 4},
        'psnr': {'type': 'calculate_psnr', 'crop_border': 4},
    }
    assert set(measured(opt)['real']['result']) == {'niqe'}


def test_weights_that_are_missing_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    opt = options('SRModel', {**tiny.EDSR})
    opt['path'] = {}
    measured(opt)
    assert "net_g has no weights ('path.pretrain_network_g')" in capsys.readouterr().out
    opt['path'] = {'pretrain_network_g': 'nowhere.pth'}
    tiny.write_options(Path('o.yml'), opt)
    assert main(['test', '-opt', 'o.yml']) == 2
    said = "o.yml:28: key 'path.pretrain_network_g': There is no weight file 'nowhere.pth'."
    assert said in capsys.readouterr().err
    torch.save({'params': {}}, 'empty.pth')
    assert main(['test', '-opt', 'o.yml', '--set', 'path.pretrain_network_g=empty.pth']) == 2
    assert "--set path.pretrain_network_g=empty.pth: key 'path.pretrain_network_g': " in capsys.readouterr().err


def test_one_network_takes_luma_of_all_sets_or_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    opt = options('SRModel', ECBSR)
    opt['datasets'] |= {'test_2': {**PAIRED, 'name': 'other'}}
    opt['datasets']['test_1']['color'] = 'y'
    tiny.write_options(Path('o.yml'), opt)
    assert main(['test', '-opt', 'o.yml']) == 2
    assert "'datasets.test_2' not" in capsys.readouterr().err
