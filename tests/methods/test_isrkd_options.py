"""ISR-KD's option files: each is accepted, and what the paper states is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from option_files import OPTIONS, stages

from fsr_plugins import config
from fsr_plugins.errors import UserError


def mixture(opt: dict[str, Any]) -> tuple[str, int, str, int]:
    """Source and its number, target and its number."""
    data = opt['datasets']['train']
    source, target = (Path(data[key]).parent.name for key in ('dataroot_source', 'dataroot_gt'))
    return source, data['max_source_images'], target, data['max_images']


@pytest.mark.parametrize('file', ['isrkd.yml', 'lfw/isrkd.yml'])
def test_small_files_train_the_control_before_the_method_itself(file: str) -> None:
    opts = stages(file)
    assert list(opts) == ['pretrain', 'without_kd', 'incremental']
    control, method = opts['without_kd'], opts['incremental']
    assert control['train'].get('kd_opt') is None
    assert control['datasets']['train'].pop('max_source_images') == 0
    assert method['datasets']['train'].pop('max_source_images') > 0
    for key in ('network_g', 'network_d', 'datasets', 'degradation'):
        assert control[key] == method[key], key
    differing = ('kd_opt', 'scale_features', 'supervise_source')
    assert {key: value for key, value in control['train'].items() if key not in differing} == {
        key: value for key, value in method['train'].items() if key not in differing
    }
    assert method['network_t'] == opts['pretrain']['network_g'] == method['network_g']  # the weights have to fit
    for key in ('pretrain_network_g', 'pretrain_network_t'):
        assert method['path'][key].endswith('pretrain/models/net_g_latest.pth')


def test_losses_and_optimisers_of_the_paper() -> None:
    """Sec. IV-B: weights 0.3 for edges, 5 and 0.01 for distillation, 1 for all else; Adam's numbers."""
    opts = stages('paper/isrkd.yml')
    assert list(opts) == ['pretrain', 'incremental']
    for opt in opts.values():
        train = opt['train']
        assert train['edge_opt']['loss']['loss_weight'] == 0.3
        assert {train[f'{name}_opt']['loss_weight'] for name in ('pixel', 'lce', 'id', 'gan')} == {1.0}
        assert train['loss_range'] == 255
        assert train['optim'] == {'type': 'Adam', 'lr': 1e-4, 'betas': [0.9, 0.999], 'eps': 1e-8}
        assert train['optim_d'] == {'type': 'Adam', 'lr': 1e-4, 'betas': [0.5, 0.9], 'eps': 1e-8}
        assert opt['network_g']['num_feat'] == 512
        assert opt['datasets']['train']['use_hflip']
    kd = opts['incremental']['train']['kd_opt']
    assert (kd['criterion'], kd['response_weight'], kd['feature_weight']) == ('mse', 5.0, 0.01)
    assert mixture(opts['incremental']) == ('celeba', 20000, 'icartoonface', 50000)


@pytest.mark.parametrize(
    ('number', 'source', 'target'),
    [(1, 0, 20000), (2, 10000, 20000), (3, 20000, 20000), (4, 10000, 50000), (5, 20000, 50000)],
)
def test_mixtures_of_table_1(number: int, source: int, target: int) -> None:
    opts = stages(f'paper/isrkd/cartoon_celeba_{number}.yml')
    assert list(opts) == ['incremental']
    opt = opts['incremental']
    assert mixture(opt) == ('celeba', source, 'icartoonface', target)
    assert opt['train']['total_iter'] == 100 * target // 16
    assert (opt['train'].get('kd_opt') is None) is (source == 0)


@pytest.mark.parametrize(('response', 'feature'), [(15, 0.04), (10, 0.08), (5, 0.08), (5, 0.04), (5, 0.01)])
def test_loss_settings_of_table_3(response: int, feature: float) -> None:
    opt = stages(f'paper/isrkd/kd_r{response}_f{100 * feature:03.0f}.yml')['incremental']
    kd = opt['train']['kd_opt']
    assert (kd['response_weight'], kd['feature_weight']) == (response, feature)
    assert mixture(opt) == ('celeba', 10000, 'icartoonface', 20000)


def test_reverse_direction_of_table_4() -> None:
    opts = stages('paper/isrkd/cartoon_to_celeba.yml')
    data = opts['pretrain']['datasets']['train']
    assert (data['type'], data['max_images']) == ('FaceDataset', 50000)
    assert 'icartoonface' in data['dataroot_gt']
    assert opts['pretrain']['train']['total_iter'] == 100 * 50000 // 16
    assert mixture(opts['incremental']) == ('icartoonface', 20000, 'celeba', 20000)


def test_extended_network_of_table_5() -> None:
    opt = stages('paper/isrkd/extended.yml')['incremental']
    assert opt['network_g']['extended']
    assert 'extended' not in opt['network_t']
    assert opt['path']['strict_load_g'] is False
    assert mixture(opt) == ('celeba', 10000, 'icartoonface', 20000)


def test_every_file_of_the_paper_has_a_name_of_its_own() -> None:
    files = [OPTIONS / 'paper/isrkd.yml', *(OPTIONS / 'paper/isrkd').glob('*.yml')]
    assert len({config.load(file).name for file in files}) == len(files) == 14


@pytest.mark.parametrize(
    'override',
    [
        'train.loss_range=1',
        'train.lce_opt.mode=mse',
        'train.edge_source=device',
        'train.edge_scales=[1]',
        'train.id_opt=null',
        'network_d.d_padding=same',
        'stages.incremental.train.supervise_source=true',
        'stages.incremental.network_g.extended=true',
        'degradation.type=BicubicDown',
    ],
)
def test_switches(override: str) -> None:
    assert stages('paper/isrkd.yml', override) != stages('paper/isrkd.yml')


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match='loss_range'):
        stages('isrkd.yml', 'train.loss_range=128')
