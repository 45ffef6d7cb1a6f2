from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from mmengine.config import Config

from fsr_plugins import config
from fsr_plugins.config.options import Block, StrictOptions, TrainOptions
from fsr_plugins.config.yamlfile import parse, read
from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.registry import METRIC_REGISTRY, MODEL_REGISTRY


@METRIC_REGISTRY.register()
def config_test_metric(img: Any, img2: Any) -> float:
    """A function of a plugin's, as BasicSR has metrics."""
    return 0.0


@MODEL_REGISTRY.register()
class ConfigTestModel(FSRModel):
    """Two networks, a switch of its own, and a top-level key of its own."""

    networks = {'net_s': Net(result=True), 'net_g': Net(frozen=True), 'net_d': Net(optional=True)}

    class Train(TrainOptions):
        use_cycle: bool = True
        cycle_opt: Block | None = None

    class Options(StrictOptions):
        eval_net: str = 'net_s'


def two_stages() -> dict[str, Any]:
    values = tiny.options()
    del values['network_g']
    del values['model_type']
    first = {'model_type': 'SupervisedModel', 'network_g': dict(tiny.EDSR)}
    second = {
        'model_type': 'ConfigTestModel',
        'network_s': dict(tiny.EDSR),
        'network_g': dict(tiny.EDSR),
        'path': {'pretrain_network_g': 'stage:first/net_g'},
        'train': {'_delete_': True, 'total_iter': 6, 'optim': {'type': 'SGD', 'lr': 0.1}},
    }
    return {**values, 'stages': {'second': second, 'first': first}}


def load(tmp_path: Path, values: dict[str, Any], *overrides: str, **kwargs: Any) -> config.Experiment:
    return config.load(tiny.write_options(tmp_path / 'o.yml', values), overrides, root=tmp_path, **kwargs)


# ---- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'value'),
    [('1e-4', 1e-4), ('5e3', 5000.0), ('-1.5E+3', -1500.0), ('.5e1', 5.0), ('!!float 5e3', 5000.0), ('1_000', 1000),
     ('12', 12), ('0.5', 0.5), ('2024-01-01', '2024-01-01'), ('e5', 'e5'), ('1e', '1e'), ('~', None)],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    found = parse(f'key: {text}', 'f').values['key']
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ('text', 'line', 'words'),
    [
        ('a: 1\nb: !!python/object/apply:os.system [true]', 2, "'!!python/object/apply:os.system'"),
        ('a: {b: 1,\n  b: 2}', 2, "'b' occurs twice, first in line 1"),
        ('a: 1\n\non: 2', 3, "'on'"),
        ('a: 1\nb: &x [*x]', 2, 'contains itself'),
        ('a: 1\nb: [1, 2\n', 3, 'not readable'),
        ('a: *nothing', 1, 'not readable'),
    ],
)
def test_refused_yaml(text: str, line: int, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, 'f.yml')
    assert str(caught.value).startswith(f'f.yml:{line}: ')
    assert words in str(caught.value)


def test_python_tag_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / 'o.yml'
    file.write_text(f'name: !!python/object/apply:pathlib.Path.touch [{tmp_path / "ran"}]')
    with pytest.raises(UserError, match='plain data only'):
        config.load(file)
    assert not (tmp_path / 'ran').exists()


def test_inheritance_is_mmengines(tmp_path: Path) -> None:
    (tmp_path / 'base.yml').write_text('a: {x: 1, y: {z: 2}}\nb: {k: 1}\nl: [1, {m: 2}]\n')
    child = tmp_path / 'child.yml'
    child.write_text('_base_: base.yml\na: {y: {w: 3}}\nb: {_delete_: true, n: 0.5}\nl: [4]\nc: text\n')
    assert read(child).values == Config.fromfile(child).to_dict()


def test_inheritance_from_several_and_places(tmp_path: Path) -> None:
    (tmp_path / 'one.yml').write_text('a: 1\nb: 1\n')
    (tmp_path / 'two.yml').write_text('\nb: 2\nn: ~\n')
    child = tmp_path / 'child.yml'
    child.write_text('_base_: [one.yml, two.yml]\nn: {k: 3}\n')
    document = read(child)
    assert document.values == {'a': 1, 'b': 2, 'n': {'k': 3}}
    assert document.places['a',] == f'{tmp_path / "one.yml"}:1'
    assert document.places['b',] == f'{tmp_path / "two.yml"}:2'
    assert document.places['n', 'k'] == f'{child}:2'


def test_inheritance_in_a_circle_and_from_nothing(tmp_path: Path) -> None:
    (tmp_path / 'a.yml').write_text('_base_: b.yml')
    (tmp_path / 'b.yml').write_text('_base_: a.yml')
    with pytest.raises(UserError, match=r'a\.yml -> b\.yml -> a\.yml'):
        read(tmp_path / 'a.yml')
    (tmp_path / 'c.yml').write_text('x: 1\n_base_: d.yml')
    with pytest.raises(UserError, match=r"c\.yml:2: key '_base_' names no file: 'd\.yml'"):
        read(tmp_path / 'c.yml')
    with pytest.raises(UserError, match='cannot be read'):
        read(tmp_path / 'nothing.yml')


# ---- stages and --set ----------------------------------------------------------------------------------------------


def test_one_stage_is_called_train(tmp_path: Path) -> None:
    experiment = load(tmp_path, tiny.options())
    assert list(experiment.stages) == ['train']
    assert experiment.stages['train'].folder == experiment.folder / 'train' == tmp_path / 'experiments/tiny/train'


def test_stages_inherit_and_follow_their_needs(tmp_path: Path) -> None:
    experiment = load(tmp_path, two_stages())
    assert list(experiment.stages) == ['first', 'second']
    first, second = experiment.stages.values()
    assert first.opt['train']['total_iter'] == 4
    assert second.opt['train'] == {'total_iter': 6, 'optim': {'type': 'SGD', 'lr': 0.1}}
    assert second.needs == ('first',)
    assert second.opt['path']['pretrain_network_g'] == str(first.folder / 'models' / 'net_g_latest.pth')
    assert second.where(('train', 'total_iter')).startswith(f'{tmp_path / "o.yml"}:')


@pytest.mark.parametrize(
    ('override', 'first', 'second'),
    [
        ('train.total_iter=9', 9, 9),  # stands in both parts
        ('stages.first.train.total_iter=9', 9, 6),
        ('stages.second.train.total_iter=9', 4, 9),
    ],
)
def test_set_where_the_key_stands(tmp_path: Path, override: str, first: int, second: int) -> None:
    stages = load(tmp_path, two_stages(), override).stages
    assert [stage.opt['train']['total_iter'] for stage in stages.values()] == [first, second]


def test_set_in_the_block_around(tmp_path: Path) -> None:
    stages = load(tmp_path, two_stages(), 'network_s.res_scale=1e-1', 'train.optim={type: AdamW}').stages
    assert 'network_s' not in stages['first'].opt  # only the second stage has the block
    assert stages['second'].opt['network_s']['res_scale'] == 0.1
    assert stages['second'].opt['train']['optim'] == {'type': 'AdamW'}  # a mapping replaces
    assert stages['second'].where(('network_s', 'res_scale')) == '--set network_s.res_scale=1e-1'


def test_set_list_item(tmp_path: Path) -> None:
    stage = load(tmp_path, tiny.options(), 'train.optim_g.betas.0=0.5').stages['train']
    assert stage.opt['train']['optim_g']['betas'] == [0.5, 0.99]
    with pytest.raises(UserError, match="'train.optim_g.betas' is "):  # a digit to Python, and no number
        load(tmp_path, tiny.options(), 'train.optim_g.betas.²=0.5')


@pytest.mark.parametrize(
    'override',
    [
        'train.total_iter',
        '=3',
        'a..b=1',
        'stages.frist.scale=2',
        'network_g._delete_=true',
        'scale=[1',
        'scale=.nan',
        'scale=!!x 1',
        'scale="a',
        'scale={a: 1, a: 2}',
        'scale={1: 2}',
        f'scale={10**30}',
    ],
)
def test_set_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError, match=rf'^--set {re.escape(override)}: '):
        load(tmp_path, two_stages(), override)


def test_debug_as_in_basicsr(tmp_path: Path) -> None:
    experiment = load(tmp_path, tiny.options(), debug=True)
    opt = experiment.stages['train'].opt
    assert experiment.name == 'debug_tiny'
    assert (opt['val']['val_freq'], opt['logger']['print_freq'], opt['logger']['save_checkpoint_freq']) == (8, 1, 8)


# ---- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('reference', 'words'),
    [
        ('stage:frist/net_g', "there is no stage 'frist' (there are: second, first). Did you mean 'first'?"),
        ('stage:first/net_q', "has no network 'net_q' (it has: net_g)"),
        ('stage:first', 'write what to take'),
    ],
)
def test_wrong_reference(tmp_path: Path, reference: str, words: str) -> None:
    values = two_stages()
    values['stages']['second']['path']['pretrain_network_g'] = reference
    with pytest.raises(UserError) as caught:
        load(tmp_path, values)
    assert words in str(caught.value)
    assert "key 'path.pretrain_network_g'" in str(caught.value)


def test_reference_to_a_thing(tmp_path: Path) -> None:
    values = two_stages()
    values['stages']['second']['datasets'] = {'train': {'dataroot_gt': 'stage:first/pseudo/images'}}
    stage = load(tmp_path, values).stages['second']
    assert stage.opt['datasets']['train']['dataroot_gt'] == str(tmp_path / 'experiments/tiny/first/pseudo/images')


@pytest.mark.parametrize(('stage', 'circle'), [('second', 'first -> second -> first'), ('first', 'first -> first')])
def test_circle_is_named(tmp_path: Path, stage: str, circle: str) -> None:
    values = two_stages()
    net = 'net_s' if stage == 'second' else 'net_g'
    values['stages'] = {name: values['stages'][name] for name in ('first', 'second')}
    values['stages']['first']['path'] = {'pretrain_network_g': f'stage:{stage}/{net}'}
    with pytest.raises(UserError, match=f'circle: {circle}'):
        load(tmp_path, values)


# ---- schema ----------------------------------------------------------------------------------------------------

WRONG = [
    ('scael', 4, "'scael' is not known to stage 'train'. Did you mean 'scale'?"),
    ('scale', 0, "'scale' is 0, but must be greater than 0"),
    ('precision', 'fp8', "'precision' is 'fp8', but must be 'fp32', 'bf16', 'fp16' or 'auto'"),
    ('num_gpu', 'all', "'num_gpu' is 'all', but must be 'auto' or a whole number"),
    ('num_gpu', -1, "'num_gpu' is -1"),
    ('model_type', 'SupervizedModel', "Did you mean 'SupervisedModel'?"),
    ('network_g.type', 'EDRS', "Did you mean 'EDSR'?"),
    ('network_g.num_feet', 3, "'network_g.num_feet' is not known to EDSR. Did you mean 'num_feat'?"),
    ('network_g.num_feat', 'many', "'network_g.num_feat' is 'many', but must be a number"),
    ('network_q', {'type': 'EDSR'}, "'network_q' is not known to SupervisedModel"),
    ('train.total_iter', '4', "'train.total_iter' is '4', but must be a whole number"),
    ('train.pixl_opt', {'type': 'L1Loss'}, "Did you mean 'pixel_opt'?"),
    ('train.pixel_opt.type', 'L3Loss', "No loss is named"),
    ('train.pixel_opt.loss_wieght', 1, "Did you mean 'loss_weight'?"),
    ('train.optim_g.type', 'Adamm', "Did you mean 'Adam'?"),
    ('train.optim_g.beta', 1, "'train.optim_g.beta' is not known to Adam. Did you mean 'betas'?"),
    ('train.optim_g.lr', 'fast', "'train.optim_g.lr' is 'fast', but must be a number"),
    ('train.optim_d', {'type': 'Adam'}, "'train.optim_d' is not known"),
    ('train.scheduler', {'type': 'MultiStepLR', 'milestone': [1]}, "Did you mean 'milestones'?"),
    ('train.scheduler', {'type': 'StepLR'}, "'train.scheduler.step_size' is missing"),
    ('val.val_frequ', 3, "Did you mean 'val_freq'?"),
    ('val.metrics.psnr.crop', 3, "'val.metrics.psnr.crop' is not known to PSNR"),
    ('val.metrics.psnr.type', 'calculate_psnr_pt', "a function of BasicSR's"),
    ('val.metrics.psnr.type', 'config_test_metric', 'no class: metrics are classes here, derived from Metric'),
    ('logger.print_freq', 0, "'logger.print_freq' is 0"),
    ('logger.wandb', {'projekt': 'x'}, "'logger.wandb.projekt' is not known"),
    ('path', {'pretrain_network_q': 'x'}, "Did you mean 'pretrain_network_g'?"),
    ('path', {'strict_load_g': 1}, "must be true or false"),
    ('degradation.type', 'BicubicUp', 'No degradation is named'),
    ('degradation', {'type': 'Compose', 'stages': [{'type': 'BicubicUp'}]}, "'degradation.stages.0.type' is"),
    ('degradation', {'type': 'Compose', 'stages': [{'type': 'BicubicDown', 'scael': 4}]}, "Did you mean 'scale'?"),
    ('val.metrics.psnr', {'type': 'IdentitySimilarity', 'recogniser': {}}, "recogniser.type' is missing"),
    ('val.metrics.psnr', {'type': 'IdentitySimilarity', 'recogniser': {'path': 'x'}}, "recogniser.type' is missing"),
    ('datasets.train.dataroot', 'x', "is not known to FaceDataset. Did you mean 'dataroot_"),
    ('datasets.train.batch_size_per_gpu', 0, "'datasets.train.batch_size_per_gpu' is 0"),
    ('datasets.train.type', 'FaceDatset', "Did you mean 'FaceDataset'?"),
    ('datasets.valid', {'type': 'FaceDataset', 'dataroot_gt': 'x'}, "must be named 'train'"),
    ('datasets', {}, "'datasets.train' is missing"),
]  # fmt: skip


def put(values: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    *around, last = dotted.split('.')
    block = values
    for key in around:
        block = block[key]
    block[last] = value
    return values


@pytest.mark.parametrize(('key', 'value', 'words'), WRONG, ids=[f'{key}={value}' for key, value, _ in WRONG])
def test_wrong_option(tmp_path: Path, key: str, value: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, put(tiny.options(), key, value))
    assert any(part in str(caught.value) for part in words.split('|'))
    line = next(line for line in str(caught.value).splitlines() if any(part in line for part in words.split('|')))
    written = (tmp_path / 'o.yml').read_text().splitlines()
    place, _, rest = line.removeprefix(f'{tmp_path / "o.yml"}:').partition(': ')
    assert rest.startswith("key '")
    around = set(rest.split("'")[1].split('.'))
    assert written[int(place) - 1].split(':')[0].strip('- ') in around


def test_a_missing_key_is_meant_before_others(tmp_path: Path) -> None:
    values = tiny.options()
    values['datasets']['train']['dataroot'] = values['datasets']['train'].pop('dataroot_gt')
    with pytest.raises(UserError, match="'datasets.train.dataroot' is not known to .* Did you mean 'dataroot_gt'?"):
        load(tmp_path, values)


@pytest.mark.parametrize('key', ['scale', 'model_type', 'network_g', 'train', 'train.total_iter', 'train.optim_g'])
def test_missing_option(tmp_path: Path, key: str) -> None:
    values = tiny.options()
    *around, last = key.split('.')
    del (values[around[0]] if around else values)[last]
    with pytest.raises(UserError, match='is missing'):
        load(tmp_path, values)


def test_all_problems_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, tiny.options(), 'sacle=2', 'train.total_iter=x', 'network_g.nun_feat=1')
    assert len(str(caught.value).splitlines()) == 3


def test_common_problem_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, two_stages(), 'logger.print_freq=0')
    assert str(caught.value).count('print_freq') == 2  # the place and the key


def test_a_models_own_keys(tmp_path: Path) -> None:
    stage = load(tmp_path, two_stages(), 'stages.second.eval_net=net_s', 'stages.second.train.use_cycle=false').stages[
        'second'
    ]
    assert stage.opt['eval_net'] == 'net_s'
    with pytest.raises(UserError, match="'eval_net' is not known to stage 'first'"):
        load(tmp_path, two_stages(), 'stages.first.eval_net=net_s')
    with pytest.raises(UserError, match="'train.use_cycle' is 1, but must be true or false"):
        load(tmp_path, two_stages(), 'stages.second.train.use_cycle=1')


def test_basicsr_dataset_keys_come_from_its_source(tmp_path: Path) -> None:
    block = {'type': 'RealESRGANPairedDataset', 'dataroot_gt': 'a', 'dataroot_lq': 'b', 'io_backend': {'type': 'disk'},
             'gt_size': 16, 'use_hflip': True, 'use_rot': False, 'batch_size_per_gpu': 1}  # fmt: skip
    load(tmp_path, put(tiny.options(), 'datasets.train', block))
    with pytest.raises(
        UserError, match="'datasets.train.use_hfilp' is not known to RealESRGANPairedDataset. Did you mean 'use_hflip'"
    ):
        load(tmp_path, put(tiny.options(), 'datasets.train', {**block, 'use_hfilp': True}))


@pytest.mark.parametrize('name', [None, 'a/b', '../x', 3])
def test_name(tmp_path: Path, name: Any) -> None:
    with pytest.raises(UserError, match="key 'name'"):
        load(tmp_path, put(tiny.options(), 'name', name))


# ---- what is made of it --------------------------------------------------------------------------------------------


def test_runtime_is_what_basicsr_would_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.utils.options import parse_options

    stage = load(tmp_path, tiny.options(), 'num_gpu=auto').stages['train']
    file = tmp_path / 'written.yml'
    file.write_text(config.dump(stage.opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    theirs, _ = parse_options(str(tmp_path), is_train=True)
    ours = config.runtime(stage)
    theirs['path'].pop('experiments_root')
    root = Path(ours['path'].pop('experiments_root'))
    assert root == stage.folder
    assert {key: Path(value).relative_to(root).as_posix() for key, value in ours['path'].items()} == {
        key: Path(value).relative_to(tmp_path / 'experiments' / stage.opt['name']).as_posix()
        for key, value in theirs['path'].items()
    }
    beyond = {'root_path', 'path'}
    assert {k: v for k, v in ours.items() if k not in beyond} == {k: v for k, v in theirs.items() if k not in beyond}


def test_runtime_leaves_the_stage_alone(tmp_path: Path) -> None:
    stage = load(tmp_path, tiny.options()).stages['train']
    before = config.dump(stage.opt)
    opt = config.runtime(stage, rank=1, world_size=2, is_train=False)
    assert (opt['dist'], opt['rank'], opt['world_size'], opt['is_train']) == (True, 1, 2, False)
    assert config.dump(stage.opt) == before
    assert yaml.safe_load(before) == stage.opt


@pytest.mark.parametrize(
    'override',
    ['logger.print_freq=7', 'num_gpu=auto', 'datasets.train.num_worker_per_gpu=5', 'datasets.train.pin_memory=true',
     'val.pbar=true', 'dist_params={port: 1}'],
)  # fmt: skip
def test_fingerprint_ignores(tmp_path: Path, override: str) -> None:
    plain, other = (load(tmp_path, tiny.options(), *extra).stages['train'].opt for extra in ((), (override,)))
    assert config.fingerprint(plain) == config.fingerprint(other)
    assert config.differences(plain, other, 'tiny') == []


def test_fingerprint_tells_apart(tmp_path: Path) -> None:
    plain, other = (
        load(tmp_path, tiny.options(), *extra).stages['train'].opt
        for extra in ((), ('train.optim_g.lr=2e-4', 'network_g.res_scale=2'))
    )
    assert config.fingerprint(plain) != config.fingerprint(other)
    found = [str(difference) for difference in config.differences(plain, other, 'tiny')]
    assert found == ['network_g.res_scale: (absent) -> 2', 'train.optim_g.lr: 0.0001 -> 0.0002']


def test_fingerprint_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    prints = set()
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        prints.add(config.fingerprint(load(tmp_path / name, two_stages()).stages['second'].opt))
    assert len(prints) == 1


def test_a_tuple_that_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"key 'train.optim_g.betas' is \[0.9\]|key 'train.optim_g.betas.1' is missing"):
        load(tmp_path, tiny.options(), 'train.optim_g.betas=[0.9]')
