"""DAP-FSR's option files for the paper: sizes, what it states, and ablations that differ by their switch alone."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from option_files import OPTIONS, stages

from fsr_plugins import config
from fsr_plugins.config.yamlfile import parse
from fsr_plugins.registry import METRIC_REGISTRY, build_network

PAPER = 'paper/dapfsr_celeba_yale.yml'
ADAPTATION = 'paper/dapfsr/adaptation.yml'
NETWORK = 'paper/dapfsr/network.yml'
BENCHMARKS = [f'paper/dapfsr_{name}.yml' for name in ('celeba_yale', 'celeba_multipie', 'multipie_yale')]
#: Table 1's columns.
COLUMNS = ['lpips', 'fiq', 'psnr', 'ssim']
SOURCE = 'experiments/dapfsr_celeba_yale/'


def parameters(block: dict[str, Any]) -> int:
    with torch.device('meta'):
        return sum(p.numel() for p in build_network(block).parameters())


def without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def taken(opt: dict[str, Any]) -> dict[str, str]:
    """What is loaded, files by their place in the folder of the first experiment."""
    return {key: value.partition(SOURCE)[2] or value for key, value in opt['path'].items()}


def test_networks_have_the_paper_s_sizes() -> None:
    """The numbers are counted by hand where the archs are tested; StyleGAN2 of 128 pixels has 29.33 million."""
    opts = stages(PAPER)
    assert list(opts) == ['decoder', 'encoder', 'adapt']
    assert parameters(opts['encoder']['network_e']) == 87_111_346
    for opt in (opts['decoder'], opts['encoder']):
        assert parameters(opt['network_g']) == pytest.approx(29.33e6, rel=1e-3)
    adapted = opts['adapt']['network_sr']
    assert adapted == opts['adapt']['network_source']
    assert adapted['encoder'] == opts['encoder']['network_e']
    assert adapted['decoder'] == opts['encoder']['network_g'] == opts['decoder']['network_g']
    assert adapted['encoder']['num_latent'] == 12


@pytest.mark.parametrize('file', BENCHMARKS)
def test_faces_of_128_pixels_from_16_that_are_not_aligned(file: str) -> None:
    """Sec. 5.2; HR, which the decoder learns from, is aligned."""
    for name, opt in stages(file).items():
        assert opt['scale'] == 8
        if name == 'decoder':
            assert opt['degradation'] is None
        else:
            assert [each['type'] for each in opt['degradation']['stages']] == ['AffineMisalign', 'BicubicDown']
            assert opt['degradation']['stages'][1]['scale'] == 8


def test_losses_of_section_4_1() -> None:
    """Eq. 5: both terms equally; four layers of VGG-19."""
    opts = stages(PAPER)
    for name in ('encoder', 'adapt'):
        train = opts[name]['train']
        assert train['pixel_opt'] == {'type': 'MSELoss'}
        assert train['perceptual_opt'] == {
            'type': 'FeatureLoss',
            'features': {'type': 'VGG', 'vgg_type': 'vgg19', 'layers': [f'relu{block}_1' for block in (1, 2, 3, 4)]},
        }
    assert opts['adapt']['train']['swapped_layers'] == 3  # Sec. 5.4
    assert opts['adapt']['datasets']['train']['batch_size_per_gpu'] == 1  # one-shot


@pytest.mark.parametrize('file', BENCHMARKS)
def test_the_protocol_of_section_5_1(file: str) -> None:
    """Ten splits, ten exemplars in each (Sec. 5.2), and Table 1's columns."""
    experiment = config.load(OPTIONS / file)
    oneshot = experiment.oneshot
    assert (oneshot.stages, oneshot.exemplars, len(oneshot.splits)) == (['adapt'], 10, 10)
    adapt = experiment.stages['adapt'].opt
    assert list(adapt['val']['metrics']) == COLUMNS
    assert [METRIC_REGISTRY.get(block['type']).name for block in adapt['val']['metrics'].values()] == COLUMNS
    (target,) = (block for phase, block in adapt['datasets'].items() if phase != 'train')
    assert target['keys'] == [pattern for patterns in oneshot.splits.values() for pattern in patterns]
    exemplar = adapt['datasets']['train']
    assert exemplar['dataroot_gt'] == target['dataroot_gt']
    assert exemplar.get('exclude_keys') is None
    (key,) = exemplar['keys']
    assert sum(fnmatchcase(key, pattern) for pattern in target['keys']) == 1


def test_splits_of_multi_pie_are_a_camera_and_a_light() -> None:
    splits = config.load(OPTIONS / 'paper/dapfsr_celeba_multipie.yml').oneshot.splits
    for name, (pattern,) in splits.items():
        assert pattern == f'*_{name}'
        assert fnmatchcase(f'001_02_01_{name}', pattern)
    cameras, lights = (set(each) for each in zip(*(name.split('_') for name in splits), strict=True))
    assert len(cameras) == 5
    assert len(lights) == 6


def test_people_of_multi_pie_that_test_the_encoder_do_not_train() -> None:
    opts = stages('paper/dapfsr_multipie_yale.yml')
    held_out = opts['encoder']['datasets']['val_source']
    for name in ('decoder', 'encoder'):
        train = opts[name]['datasets']['train']
        assert train['dataroot_gt'] == held_out['dataroot_gt']
        assert train['exclude_keys'] == held_out['keys']
        assert train.get('keys') is None


def test_benchmarks_differ_in_their_data_alone() -> None:
    first, second, third = (stages(file) for file in BENCHMARKS)
    data = ('name', 'datasets', 'path')
    for stage, opt in first.items():
        assert without(third[stage], *data) == without(opt, *data)
    assert list(second) == ['adapt']
    assert without(second['adapt'], *data, 'val', 'logger') == without(first['adapt'], *data, 'val', 'logger')
    for opt in (first['adapt'], second['adapt']):
        assert taken(opt) == dict.fromkeys(
            ('pretrain_network_sr', 'pretrain_network_source'), 'encoder/models/net_sr_latest.pth'
        )


#: Sec. 5.4: F is the whole method; "we constrained fine-tune our model using the augmented data" (Table 3).
SWITCHES: dict[str, dict[str, str]] = {
    'adapt_direct': {'aug': 'direct'},
    'adapt_adain': {'aug': 'adain'},
    'adapt_d': {'mixing': 'hard', 'trainable': 'all'},
    'adapt_e': {'trainable': 'all'},
    'adapt_f': {},
}


def test_ways_to_adapt_differ_from_the_method_by_their_switch() -> None:
    usual, opts = stages(PAPER)['adapt'], stages(ADAPTATION)
    assert list(opts) == list(SWITCHES)
    for name, opt in opts.items():
        assert opt['train'] == {**usual['train'], **SWITCHES[name]}
        assert taken(opt) == taken(usual)
        for key in ('model_type', 'network_sr', 'network_source', 'degradation', 'datasets', 'scale', 'manual_seed'):
            assert opt[key] == usual[key], key
        assert opt['val']['metrics'] == usual['val']['metrics']


def test_ways_to_adapt_are_compared_by_the_same_exemplars() -> None:
    usual, compared = (config.load(OPTIONS / file).oneshot for file in (PAPER, ADAPTATION))
    assert compared.stages == list(SWITCHES)
    assert compared.model_dump(exclude={'stages'}) == usual.model_dump(exclude={'stages'})


#: Table 2: a part more in each row; with all three it is C.
PARTS = ['multi_scale', 'use_istn', 'predict_offset']


def test_networks_of_table_2_have_one_part_more_each() -> None:
    usual, opts = stages(PAPER)['encoder'], stages(NETWORK)
    assert list(opts) == ['baseline', 'a_multi_scale', 'b_istn']
    for number, opt in enumerate(opts.values()):
        assert without(opt['network_e'], *PARTS) == usual['network_e']
        assert {part: opt['network_e'].get(part, True) for part in PARTS} == {
            part: place < number for place, part in enumerate(PARTS)
        }
        for key in ('model_type', 'network_g', 'degradation', 'datasets', 'train', 'val', 'scale', 'manual_seed'):
            assert opt[key] == usual[key], key
        assert taken(opt) == taken(usual)
        assert taken(opt)['pretrain_network_g'] == 'decoder/models/net_g_latest.pth'


def test_every_file_has_a_name_of_its_own() -> None:
    files = [*(OPTIONS / file for file in BENCHMARKS), *(OPTIONS / 'paper/dapfsr').glob('*.yml')]
    assert len({parse(file.read_text(), file.name).values['name'] for file in files}) == len(files) == 5


@pytest.mark.parametrize(
    'override',
    [
        'stages.adapt.train.aug=adain',
        'stages.adapt.train.mixing=none',
        'stages.adapt.train.trainable=all',
        'stages.encoder.network_e.backbone=resnet18',
        'stages.encoder.train.backbone_weights=null',
        'stages.encoder.train.perceptual_opt.features={type: MobileFaceNet, layers: [blocks.4], _delete_: true}',
    ],
)
def test_switches(override: str) -> None:
    assert stages(PAPER, override) != stages(PAPER)


def test_the_number_of_exemplars_is_a_switch() -> None:
    assert config.load(OPTIONS / PAPER, ['oneshot.exemplars=1']).oneshot.exemplars == 1
