"""C-Face's option files: each is accepted, its stages fit each other, and what the paper states is in them."""

from __future__ import annotations

from typing import Any

import pytest
from option_files import OPTIONS, stages

from fsr_plugins.config.yamlfile import parse
from fsr_plugins.errors import UserError

PAPER = 'paper/cface.yml'
#: Sec. 4.1 and 4.2.
IMAGES, PEOPLE, BATCH = 494_414, 10_575, 64
EPOCH = IMAGES // BATCH
STEPS = ['gan', 'super_resolve', 'recogniser', 'joint']
ORIGINAL = 'experiments/sphereface_paper/sphereface/models/net_{}_latest.pth'


def comes_from(opt: dict[str, Any], net: str) -> str:
    """The last three parts of the file that a network's weights come from."""
    path = opt['path'].get(f'pretrain_network_{net}')
    return path and '/'.join(path.split('/')[-3:])


def test_rates_epochs_and_weights_of_section_4_2() -> None:
    opts = stages(PAPER)
    assert list(opts) == STEPS
    for name, rate, epochs, gammas in (('gan', 2e-4, 10, (0.05, 0.1)), ('joint', 1e-5, 5, (0.05, 0.05))):
        train = opts[name]['train']
        assert (train['optim']['type'], train['optim']['lr']) == ('Adam', rate)
        assert train['total_iter'] == epochs * IMAGES // BATCH
        assert train['gan_opt']['loss_weight'] == 0.1
        assert train['content_opt']['loss_weight'] == 1.0
        assert train.get('pixel_opt') is None
        assert (train['cface_opt']['gamma_1'], train['cface_opt']['gamma_2']) == gammas
        assert train['cface_opt']['use_lower_bound'] and train['use_compare']
        for net in 'gd':
            decay = train.get(f'scheduler_{net}') or train['scheduler']
            assert (decay['type'], decay['step_size'], decay['gamma']) == ('StepLR', EPOCH, 0.99)
        data = opts[name]['datasets']['train']
        assert (data['type'], data['batch_size_per_gpu'], data['compare']['k']) == ('CompareFaceDataset', BATCH, 3)
    tuned = opts['recogniser']['train']
    assert tuned['total_iter'] == 10 * 2 * IMAGES // BATCH
    assert (tuned['optim']['type'], tuned['optim']['lr']) == ('SGD', 0.1)
    assert (tuned['scheduler']['step_size'], tuned['scheduler']['gamma']) == (2 * IMAGES // BATCH, 0.1)


def test_each_step_begins_where_the_one_before_ended() -> None:
    opts = stages(PAPER)
    assert opts['gan']['path'] == {'pretrain_network_r': ORIGINAL.format('r')}
    assert comes_from(opts['super_resolve'], 'g') == 'gan/models/net_g_latest.pth'
    tuned = opts['recogniser']
    assert [tuned['path'][f'pretrain_network_{net}'] for net in 'rh'] == [ORIGINAL.format('r'), ORIGINAL.format('h')]
    hr, sr = tuned['datasets']['train']['dataroot_gt']
    assert (
        hr
        == opts['gan']['datasets']['train']['dataroot_gt']
        == opts['super_resolve']['datasets']['train']['dataroot_gt']
    )
    assert sr.endswith('cface_paper/super_resolve/images.lmdb')
    joint = opts['joint']
    assert [comes_from(joint, net) for net in 'gdrh'] == [
        f'{stage}/models/net_{net}_latest.pth'
        for stage, net in zip(('gan', 'gan', *['recogniser'] * 2), 'gdrh', strict=True)
    ]
    for net, first in (('g', 'gan'), ('d', 'gan'), ('r', 'gan'), ('h', 'recogniser')):
        assert joint[f'network_{net}'] == opts[first][f'network_{net}'], net
    assert joint['network_h']['num_classes'] == PEOPLE


def test_compare_faces_are_chosen_and_networks_judged_by_the_original_recogniser() -> None:
    for name, opt in stages(PAPER).items():
        if name in ('gan', 'joint'):
            assert opt['datasets']['train']['compare']['recogniser']['path'] == ORIGINAL.format('r')
        judges = [metric for metric in ((opt.get('val') or {}).get('metrics') or {}).values() if 'recogniser' in metric]
        assert len(judges) == (0 if name == 'super_resolve' else 2)
        assert all(metric['recogniser']['path'] == ORIGINAL.format('r') for metric in judges)


def test_the_images_step_2_makes_are_neither_mirrored_nor_compared() -> None:
    data = stages(PAPER)['super_resolve']['datasets']['train']
    assert data['type'] == 'FaceDataset'
    assert not data.get('use_hflip')


@pytest.mark.parametrize('scale', [2, 8])
def test_other_factors(scale: int) -> None:
    for name, opt in stages(f'paper/cface/x{scale}.yml').items():
        assert opt['scale'] == scale
        if name != 'recogniser':
            assert opt['degradation']['scale'] == opt['network_g']['scale'] == scale


@pytest.mark.parametrize('k', [1, 2, 4, 5])
def test_choices_of_table_6(k: int) -> None:
    opts, usual = stages(f'paper/cface/k{k}.yml'), stages(PAPER)
    for name in ('gan', 'joint'):
        assert opts[name]['datasets']['train']['compare'].pop('k') == k
        assert usual[name]['datasets']['train']['compare'].pop('k') == 3
        assert opts[name]['datasets'] == usual[name]['datasets']
        assert opts[name]['train'] == usual[name]['train']


def test_random_compare_face_of_table_6() -> None:
    for name in ('gan', 'joint'):
        compare = stages('paper/cface/random.yml')[name]['datasets']['train']['compare']
        assert compare['random'] and compare['recogniser'] is None


def test_control_without_compare_faces() -> None:
    opts, usual = stages('paper/cface/no_compare.yml'), stages(PAPER)
    for name in ('gan', 'joint'):
        assert opts[name]['train'].pop('use_compare') is False
        usual[name]['train'].pop('use_compare')
        assert opts[name]['train'] == usual[name]['train']
        assert opts[name]['datasets']['train']['type'] == 'FaceDataset'
    assert opts['joint']['datasets']['train']['views'] == ['identity']


def test_versions_1_and_2_3_of_table_7_are_steps_of_version_2() -> None:
    usual = stages(PAPER)
    first, without = stages('paper/cface/v1.yml'), stages('paper/cface/v2_3.yml')
    assert (list(first), list(without)) == (['gan'], ['gan', 'joint'])
    for opt in (first['gan'], without['gan']):
        for key in ('train', 'datasets', 'network_g', 'network_d', 'network_r', 'path'):
            assert opt[key] == usual['gan'][key], key
    assert without['joint']['train'] == usual['joint']['train']
    assert [without['joint']['path'][f'pretrain_network_{net}'] for net in 'rh'] == [
        ORIGINAL.format('r'),
        ORIGINAL.format('h'),
    ]


def test_versions_2_1_and_2_2_of_table_7_tune_on_sr_alone() -> None:
    tuned, scratch = (stages(f'paper/cface/{name}.yml')['recogniser'] for name in ('v2_1', 'v2_2'))
    for opt, name in ((tuned, 'cface_v2_1'), (scratch, 'cface_v2_2')):
        assert opt['datasets']['train']['dataroot_gt'].endswith(f'{name}/super_resolve/images.lmdb')
    assert tuned['train']['total_iter'] == 10 * IMAGES // BATCH
    assert tuned['train']['scheduler']['step_size'] == EPOCH
    assert tuned['path']['pretrain_network_r'] == ORIGINAL.format('r')
    assert not any(scratch['path'].values())
    assert scratch['train']['fr_opt']['lambda_start'] == 1500
    assert scratch['train']['scheduler']['milestones'] == [epoch * EPOCH for epoch in (10, 15, 18)]


def test_every_file_has_a_name_of_its_own() -> None:
    files = [OPTIONS / PAPER, *(OPTIONS / 'paper/cface').glob('*.yml')]
    assert len({parse(file.read_text(), file.name).values['name'] for file in files}) == len(files) == 13


@pytest.mark.parametrize(
    'override',
    [
        'train.content_opt.layer=relu5_3',
        'train.content_opt.channel_sum=true',
        'train.content_opt=null',
        'train.pixel_opt={type: L1Loss}',
        'train.cface_opt.use_lower_bound=false',
        'train.cface_opt=null',
        'network_d={type: VGGStyleDiscriminator, num_in_ch: 3, num_feat: 64, input_size: 128}',
        'network_r.adapt=centercrop',
        'datasets.train.compare.k=2',
    ],
)
def test_switches(override: str) -> None:
    assert stages(PAPER, override) != stages(PAPER)


def test_a_switch_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match='use_compare'):
        stages(PAPER, 'stages.gan.train.use_compares=false')
