"""Option files in BasicSR's words: names stand for ours, each key is obeyed, answered or refused in one line."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import tiny

from fsr_plugins import config
from fsr_plugins.config.basicsr import DATASETS, METRICS, MODELS
from fsr_plugins.errors import UserError
from fsr_plugins.registry import REGISTRIES, load_plugins

#: As BasicSR's files are written.
SETS: dict[str, Any] = {
    'train': {
        'name': 'DIV2K', 'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq',
        'meta_info_file': 'meta.txt', 'filename_tmpl': '{}', 'io_backend': {'type': 'disk'}, 'gt_size': 32,
        'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 6, 'batch_size_per_gpu': 2,
        'dataset_enlarge_ratio': 100, 'prefetch_mode': None,
    },
    'val': {
        'name': 'Set5', 'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq', 'gt_size': 32,
        'use_hflip': False, 'io_backend': {'type': 'disk'},
    },
    'val_2': {'name': 'real', 'type': 'SingleImageDataset', 'dataroot_lq': 'lq', 'io_backend': {'type': 'disk'}},
}  # fmt: skip
METRIC = {'crop_border': 4, 'test_y_channel': False, 'better': 'higher', 'input_order': 'HWC'}


def recipe(model: str = 'SRModel', **more: Any) -> dict[str, Any]:
    opt = tiny.options()
    del opt['degradation']
    opt['val']['metrics'] = {
        'psnr': {'type': 'calculate_psnr', **METRIC},
        'ssim': {'type': 'calculate_ssim', **METRIC},
        'niqe': {'type': 'calculate_niqe', 'crop_border': 4, 'convert_to': 'gray', 'better': 'lower'},
    }
    return {
        **opt, 'model_type': model, 'datasets': copy.deepcopy(SETS),
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'dist_params': {'backend': 'nccl', 'port': 29500}, **more,
    }  # fmt: skip


def load(folder: Path, opt: dict[str, Any], *overrides: str, **more: Any) -> config.Experiment:
    return config.load(tiny.write_options(folder / 'o.yml', opt), overrides, **more)


def only(experiment: config.Experiment) -> Any:
    (stage,) = experiment.stages.values()
    return stage.opt


def test_names_stand_for_ours(tmp_path: Path) -> None:
    opt = only(load(tmp_path, recipe()))
    assert opt['model_type'] == 'SupervisedModel'
    assert {phase: block['type'] for phase, block in opt['datasets'].items()} == {
        'train': 'PairedImages', 'val': 'PairedImages', 'val_2': 'SingleImages'
    }  # fmt: skip
    assert opt['val']['metrics'] == {
        'psnr': {'type': 'PSNR', 'crop_border': 4, 'test_y_channel': False},
        'ssim': {'type': 'SSIM', 'crop_border': 4, 'test_y_channel': False},
        'niqe': {'type': 'NIQE', 'crop_border': 4, 'convert_to': 'gray'},
    }
    assert opt['datasets']['train']['meta_info_file'] == 'meta.txt'
    assert opt['datasets']['val']['batch_size_per_gpu'] == 1 and opt['datasets']['train']['batch_size_per_gpu'] == 2


@pytest.mark.parametrize(
    ('model', 'ours', 'relativistic'),
    [('SwinIRModel', 'SupervisedModel', None), ('SRGANModel', 'GANModel', None), ('ESRGANModel', 'GANModel', True)],
)
def test_models_stand_for_ours(tmp_path: Path, model: str, ours: str, relativistic: bool | None) -> None:
    opt = only(load(tmp_path, recipe(model)))
    assert (opt['model_type'], opt['train'].get('relativistic')) == (ours, relativistic)


def test_what_basicsr_registers_is_left_as_it_is() -> None:
    load_plugins()
    for kind, names in (('models', MODELS), ('datasets', DATASETS), ('metrics', METRICS)):
        for theirs, ours in names.items():
            assert REGISTRIES[kind].get(theirs).__module__.startswith('basicsr.')
            assert REGISTRIES[kind].get(ours).__module__.startswith('fsr_plugins.')


def test_each_key_without_effect_has_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opt = recipe('SRGANModel')
    opt['datasets']['train'] |= {'prefetch_mode': 'cuda', 'num_prefetch_queue': 4, 'use_shuffle': False}
    opt['path']['ignore_resume_networks'] = 'network_d'
    opt['val'] |= {'pbar': True}
    opt['val']['metrics']['psnr'] |= {'better': 'lower', 'input_order': 'CHW'}
    with caplog.at_level(logging.WARNING):
        load(tmp_path, opt)
    said = [line.partition("the key '")[2].partition("' has no effect here: ") for line in caplog.messages]
    assert sorted(key for key, _, _ in said) == [
        'datasets.train.dataset_enlarge_ratio', 'datasets.train.num_prefetch_queue', 'datasets.train.prefetch_mode',
        'datasets.train.use_shuffle', 'datasets.val.gt_size', 'path.ignore_resume_networks', 'val.metrics.psnr.better',
        'val.metrics.psnr.input_order', 'val.pbar',
    ]  # fmt: skip
    assert all(reason for _, _, reason in said)


def test_faces_of_stylegan2_are_in_0_to_1(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opt = recipe()
    opt['datasets']['train'] = {
        'type': 'FFHQDataset', 'dataroot_gt': 'ffhq.lmdb', 'io_backend': {'type': 'lmdb'}, 'use_hflip': True,
        'mean': [0.5, 0.5, 0.5], 'std': [0.5, 0.5, 0.5], 'batch_size_per_gpu': 1,
    }  # fmt: skip
    block = only(load(tmp_path, opt))['datasets']['train']
    assert block['type'] == 'FaceDataset' and not {'mean', 'std'} & block.keys()
    assert sum("'datasets.train.mean' has no effect" in line for line in caplog.messages) == 1
    opt['datasets']['train']['mean'] = [0.1, 0.5, 0.5]
    with pytest.raises(UserError, match="'datasets.train.mean' is not known"):
        load(tmp_path, opt)


@pytest.mark.parametrize('model', ['VideoRecurrentModel', 'HiFaceGANModel', 'RealESRGANModel'])
def test_hosted_models_keep_basicsrs_sets_and_functions(tmp_path: Path, model: str) -> None:
    opt = recipe(model, own_key=[1, 2])
    given = copy.deepcopy(opt)
    opt['datasets']['train'] |= {'interval_list': [1]}  # which sets of clips read
    experiment = load(tmp_path, opt)
    found = only(experiment)
    assert found['model_type'] == model and found['own_key'] == [1, 2]
    assert found['val']['metrics'] == given['val']['metrics']
    for phase, block in given['datasets'].items():
        assert block.items() <= found['datasets'][phase].items()
    assert any('interval_list' in line and 'does not read it' in line for line in experiment.without_effect)
    with pytest.raises(UserError, match='use_hflop.*Did you mean'):
        load(tmp_path, opt, 'datasets.train.use_hflop=true')


def test_what_does_not_run_here_is_one_line_each(tmp_path: Path) -> None:
    opt = recipe('NobodysModel')
    opt['val']['metrics'] = {'psnr': {'type': 'calculate_psnr_pt', 'crop_border': 0}}
    with pytest.raises(UserError) as caught:
        load(tmp_path, opt)
    lines = str(caught.value).splitlines()
    assert ["key 'model_type'" in line for line in lines].count(True) == 1
    assert ["'val.metrics" in line for line in lines].count(True) == 1


def test_a_list_and_luma_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'datasets\.train\.color'):
        load(tmp_path, recipe(), 'datasets.train.color=grey')
    with pytest.raises(UserError, match='meta_info_fiel.*Did you mean'):
        load(tmp_path, recipe(), 'datasets.train.meta_info_fiel=x')


def for_testing(**more: Any) -> dict[str, Any]:
    opt = recipe('ESRGANModel')
    del opt['train'], opt['datasets'], opt['logger']
    datasets = {'test_1': SETS['val'], 'test_2': SETS['val_2']}
    return {**opt, 'datasets': copy.deepcopy(datasets), 'val': {'save_img': True, 'suffix': None}, **more}


def test_a_file_for_testing_is_for_testing(tmp_path: Path) -> None:
    experiment = load(tmp_path, for_testing(), tests=True)
    assert not experiment.trains and list(experiment.stages) == ['test']
    with pytest.raises(UserError, match=r"'datasets\.train' is missing.*fsr test"):
        load(tmp_path, for_testing())
    assert load(tmp_path, recipe(), tests=True).trains


@pytest.mark.parametrize(
    ('change', 'message'),
    [({'val': None}, "'val' is missing"), ({'datasets': {}}, "'datasets' is missing"), ({'scale': None}, "'scale'")],
)
def test_what_a_file_for_testing_lacks_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, for_testing(**change), tests=True)


def test_the_layout_of_an_earlier_basicsr(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opt = for_testing(save_img=True, suffix='x', crop_border=4)
    del opt['val']
    val = only(load(tmp_path, opt, tests=True))['val']
    assert (val['save_img'], val['suffix']) == (True, 'x')
    assert sum("'crop_border' has no effect" in line for line in caplog.messages) == 1
    with pytest.raises(UserError, match="'save_img' is not known"):
        load(tmp_path, {**opt, 'model_type': 'SupervisedModel'}, tests=True)


def test_a_decay_in_a_network_is_taken_out_and_said(tmp_path: Path) -> None:
    opt = recipe('EDVRModel')
    opt['network_g']['ema_decay'] = 0.999
    experiment = load(tmp_path, opt)
    assert 'ema_decay' not in only(experiment)['network_g']
    assert any("'network_g.ema_decay'" in line and "'train'" in line for line in experiment.without_effect)
