"""``fsr oneshot`` with a network and a model of the test's own."""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import tiny_adapter
import torch

from fsr_plugins import config
from fsr_plugins.adaptation import report as oneshot_report
from fsr_plugins.adaptation.differences import paired_differences
from fsr_plugins.adaptation.plan import plan
from fsr_plugins.cli import main
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.engine import report
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.errors import UserError
from fsr_plugins.measuring.statistics import bootstrap_interval
from fsr_plugins.models.base import FSRModel
from fsr_plugins.registry import build_network
from fsr_plugins.stores.images import read_image

OPTIONS = {
    'name': 'demo',
    'scale': 2,
    'num_gpu': 0,
    'degradation': tiny_adapter.DEGRADATION,
    'datasets': {
        'train': {'type': 'FaceDataset', 'dataroot_gt': 'target', 'batch_size_per_gpu': 2},
        'val_target': {'name': 'target', 'type': 'FaceDataset', 'dataroot_gt': 'target'},
    },
    'train': tiny_adapter.TRAIN,
    'val': {'val_freq': 3, 'metrics': {'ssim': {'type': 'SSIM'}, 'psnr': {'type': 'PSNR'}, 'quality': {'type': 'FIQ'}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    'stages': {
        'source': {'model_type': 'SupervisedModel', 'network_g': tiny_adapter.ARCH},
        'adapt': {
            'model_type': 'TinyAdaptModel',
            'network_sr': tiny_adapter.ARCH,
            'path': {'pretrain_network_sr': 'stage:source/net_g'},
            'manual_seed': 4,
        },
    },
    'oneshot': {'splits': {'left': ['left_*'], 'right+1': ['right_?']}, 'exemplars': 2, 'seed': 1},
}
KEYS = [f'{side}_{number}' for side in ('left', 'right') for number in range(4)]


def write(folder: Path, oneshot: dict[str, Any] | None = None, **more: Any) -> Path:
    values = {**copy.deepcopy(OPTIONS), **more}
    values['oneshot'] = OPTIONS['oneshot'] if oneshot is None else oneshot
    return tiny.write_options(folder / 'o.yml', values)


def fill(folder: Path) -> None:
    """An option file and eight faces."""
    tiny.write_faces(folder / 'target', len(KEYS), tiny_adapter.SIZE)
    for number, key in enumerate(KEYS):
        (folder / 'target' / f'{number}.png').rename(folder / 'target' / f'{key}.png')
    write(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an option file and its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    fill(tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``fsr train`` leaves, whose stage ``adapt`` is of no use to ``fsr oneshot``."""
    folder = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv('XDG_CACHE_HOME', str(folder / 'cache'))
        fill(folder)
        assert main(['train', '-opt', 'o.yml', '--set', 'stages.adapt.train.total_iter=1']) == 0
    return folder / 'experiments'


@pytest.fixture
def trained(folder: Path, experiments: Path) -> Path:
    """The working directory after ``fsr train``."""
    shutil.copytree(experiments, folder / 'experiments')
    return folder


def run(*more: str) -> dict[str, Any]:
    assert main(['oneshot', '-opt', 'o.yml', '--json', 'found.json', *more]) == 0
    return json.loads(Path('found.json').read_text())


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    before = sorted(folder.glob('experiments/**/*'))
    capsys.readouterr()
    assert main(['oneshot', '-opt', 'o.yml', *more]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith('fsr: error: ')
    assert sorted(folder.glob('experiments/**/*')) == before
    return printed.err


# ---- the draw --------------------------------------------------------------------------------------------------------


def test_exemplars_are_drawn_once_each_and_by_their_seed(folder: Path) -> None:
    def drawn(*overrides: str) -> dict[str, list[str]]:
        return {split.name: split.exemplars for split in plan(config.load('o.yml', overrides)).splits}

    assert drawn() == drawn()
    assert [len(exemplars) for exemplars in drawn().values()] == [2, 2]
    everything = drawn('oneshot.exemplars=9')
    assert sorted(itertools.chain(*everything.values())) == KEYS
    assert drawn()['left'] == everything['left'][:2]
    assert len({tuple(drawn(f'oneshot.seed={seed}')['left']) for seed in range(8)}) > 2
    other = 'oneshot.splits={new: ["*_0", "*_1"], left: ["left_*"]}'
    assert drawn(other)['left'] == drawn()['left']  # whatever other splits there are


def test_a_repeat_trains_with_the_exemplar_alone_and_never_sees_it_again(folder: Path) -> None:
    repeats = plan(config.load('o.yml')).repeats
    assert [(repeat.split, repeat.number) for repeat in repeats] == [
        ('left', 0),
        ('left', 1),
        ('right+1', 0),
        ('right+1', 1),
    ]
    for repeat in repeats:
        datasets = repeat.stage.opt['datasets']
        assert datasets['train']['keys'] == datasets['val_target']['exclude_keys'] == [repeat.exemplar]
        assert datasets['val_target']['keys'] == [{'left': 'left_*', 'right+1': 'right_?'}[repeat.split]]
        assert repeat.stage.opt['manual_seed'] == 4 + repeat.number
        assert datasets['val_target']['seed'] == 4  # test faces are degraded alike
        assert datasets['val_target']['draw_by'] == 'key'
        source = folder / 'experiments/demo/source/models/net_g_latest.pth'
        assert repeat.stage.opt['path']['pretrain_network_sr'] == str(source)
        assert repeat.stage.folder.parent.parent == folder / 'experiments/demo/oneshot'


def test_leaving_out_the_exemplar_moves_no_other_face(folder: Path) -> None:
    """LR of a test face depends on its key and the seed alone: not on which others are there, nor on its place."""
    drawn: dict[str, list[int]] = {}
    for repeat in plan(config.load('o.yml', ['oneshot.splits={all: ["*"]}', 'oneshot.exemplars=3'])).repeats:
        settings = repeat.stage.options
        dataset = make_dataset(settings.sets['val_target'], 'val', settings)
        assert isinstance(dataset, ImageDataset) and len(dataset) == len(KEYS) - 1
        for index in range(len(dataset)):
            drawn.setdefault(dataset.key(index), []).append(dataset.sample(index).seed)
    assert all(len(set(seeds)) == 1 for seeds in drawn.values())
    assert len({seeds[0] for seeds in drawn.values()}) == len(KEYS)


def test_the_target_set_keeps_its_own_choice(folder: Path) -> None:
    todo = plan(config.load('o.yml', ['datasets.val_target.exclude_keys=[left_2]', 'oneshot.splits={all: ["*"]}']))
    assert todo.splits[0].keys == [key for key in KEYS if key != 'left_2']
    assert todo.repeats[0].stage.opt['datasets']['val_target']['keys'] == todo.splits[0].keys


# ---- the run ---------------------------------------------------------------------------------------------------------


def test_what_it_leaves(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    found = run()
    printed = capsys.readouterr().out
    place = trained / 'experiments/demo'
    assert json.loads((place / 'oneshot.json').read_text()) == found
    assert [row['network'] for row in found['table']] == ['bicubic', 'source only', 'adapt']
    header = (place / 'oneshot.md').read_text().splitlines()[0]
    assert header == '|  | quality ↑ | psnr ↑ | ssim ↑ |'
    assert (place / 'oneshot.md').read_text().splitlines()[2].startswith('| bicubic | - | ')
    assert 'standard deviation' in printed
    assert 'quality: absent: ' in printed
    assert found['splits']['left']['images'] == 4
    picture = cv2.imread(str(place / 'oneshot.png'))
    assert picture.shape[0] == 5 * (128 + report.GAP)
    assert picture.shape[1] > 2 * (128 + report.GAP)
    kept = {path.name for path in (place / 'oneshot/left/adapt_1').iterdir()}
    expected = {'options.yml', 'done.json', 'train.log', 'metrics.jsonl', 'images', 'preview.png'}
    assert kept == expected | {'net_sr_difference.pth'}


def test_figures_are_those_of_the_kept_network_on_the_rest_of_the_split(trained: Path) -> None:
    found = run()
    base = torch.load('experiments/demo/source/models/net_g_latest.pth', weights_only=True)['params']
    for repeat in found['repeats']:
        number = found['splits'][repeat['split']]['exemplars'].index(repeat['exemplar'])
        kept = torch.load(f'experiments/demo/oneshot/{repeat["split"]}/adapt_{number}/net_sr_difference.pth')
        assert set(kept['params']) == {'style.weight', 'style.bias'}
        rest = [key for key in KEYS if key.startswith(repeat['split'][:4]) and key != repeat['exemplar']]
        for name, weights in (('source_only', base), ('result', base | kept['params'])):
            expected = np.mean([psnr(weights, key) for key in rest])
            assert repeat['validation'][name]['psnr'] == pytest.approx(expected, abs=1e-4)


def psnr(weights: dict[str, torch.Tensor], key: str) -> float:
    net = build_network(tiny_adapter.ARCH)
    net.load_state_dict(weights)
    gt = torch.from_numpy(read_image(f'target/{key}.png')).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        sr = net(BicubicDown(2)(gt, None))
    return cv2.PSNR(np.uint8((sr.clamp(0, 1) * 255).round()), np.uint8((gt * 255).round()))


def test_table_is_made_of_the_repeats(trained: Path) -> None:
    found = run()
    values = np.array([repeat['validation']['result']['psnr'] for repeat in found['repeats']]).reshape(2, 2)
    figures = found['table'][-1]['figures']['psnr']
    assert figures['mean'] == pytest.approx(values.mean())
    assert figures['deviation'] == pytest.approx(values.mean(axis=0).std(ddof=1))


def test_what_is_done_is_skipped_and_what_is_not_is_done_again(trained: Path) -> None:
    found = run()
    done = {path: path.stat().st_mtime_ns for path in trained.glob('experiments/demo/oneshot/*/*/done.json')}
    assert len(done) == 4
    lost = trained / 'experiments/demo/oneshot/left/adapt_1/done.json'
    lost.unlink()
    again = run()
    assert {path for path in done if path.stat().st_mtime_ns != done[path]} == {lost}
    assert again['table'] == found['table']
    assert [repeat['sha256'] for repeat in again['repeats']] == [repeat['sha256'] for repeat in found['repeats']]


def test_later_rates_that_are_changed_hold_in_a_repeat_that_has_begun(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    milestones = 'stages.adapt.train.scheduler={type: MultiStepLR, gamma: 0.5, milestones: [%d]}'
    longer = ['--set', 'stages.adapt.train.total_iter=4', '--set']
    step = FSRModel.optimize_parameters

    def interrupted_at_the_second(model: FSRModel, current_iter: int) -> None:
        step(model, current_iter)
        if current_iter == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(FSRModel, 'optimize_parameters', interrupted_at_the_second)
        assert main(['oneshot', '-opt', 'o.yml', *longer, milestones % 100]) == 128 + signal.SIGTERM
    begun = trained / 'experiments/demo/oneshot/left/adapt_0'
    assert (begun / 'training_states/2.state').exists()
    run(*longer, milestones % 3)
    (line,) = [line for line in map(json.loads, (begun / 'metrics.jsonl').read_text().splitlines()) if 'lrs' in line]
    assert line['iter'] == 4 and line['lrs'] == [tiny_adapter.TRAIN['optim']['lr'] / 2]


def test_several_stages_are_compared(trained: Path) -> None:
    stages = copy.deepcopy(OPTIONS['stages'])
    stages['direct'] = {**stages['adapt'], 'train': {'total_iter': 2}}
    write(trained, {**OPTIONS['oneshot'], 'stages': ['adapt', 'direct'], 'keep_networks': False}, stages=stages)
    found = run()
    assert [row['network'] for row in found['table']] == ['bicubic', 'source only', 'adapt', 'direct']
    assert not list(trained.glob('experiments/demo/oneshot/**/*.pth'))
    assert cv2.imread('experiments/demo/oneshot.png').shape[0] == 6 * (128 + report.GAP)
    (difference,) = found['differences']
    rows = {row['network']: row['figures']['psnr']['mean'] for row in found['table']}
    about = difference['figures']['psnr']
    assert (difference['stage'], difference['minus'], about['splits'], about['exemplars']) == ('direct', 'adapt', 2, 4)
    assert about['mean'] == pytest.approx(rows['direct'] - rows['adapt'])
    assert about['low'] <= about['mean'] <= about['high'] and 0 < about['p'] <= 1
    text = Path('experiments/demo/oneshot.md').read_text()
    assert '|  | Δ quality ↑ | Δ psnr ↑ | Δ ssim ↑ |' in text and '| direct − adapt | - | ' in text
    assert '± is the standard deviation' in text and 'over the splits, whose exemplars count together' in text


# ---- the table -------------------------------------------------------------------------------------------------------


def test_statistics_of_splits_with_unequal_numbers_of_exemplars() -> None:
    def results(value: float, before: float = 1.0) -> dict[str, dict[str, float]]:
        return {
            'bicubic': {'psnr': 5.0},
            'source_only': {'psnr': before},
            'result': {'psnr': value, 'psnr_y': value + 1},
        }

    figures = {
        'one': {'a': [results(1), results(3), results(8)], 'b': [results(2), results(6)]},
        'two': {'a': [results(1, 2)] * 3, 'b': [results(1, 2)] * 2},
    }
    rows = {row['network']: row['figures'] for row in oneshot_report.table(figures, ['psnr'])}
    assert list(rows) == ['bicubic', 'source only (one)', 'source only (two)', 'one', 'two']
    assert list(rows['one']) == ['psnr', 'psnr_y']
    # means of the splits 4 and 4; first exemplars 1.5, second 4.5
    assert rows['one']['psnr'] == {'mean': 4.0, 'deviation': pytest.approx(3 / 2**0.5)}
    assert rows['two']['psnr']['deviation'] == 0


def test_paired_differences_are_of_the_same_exemplars() -> None:
    """What exemplars and splits have in common drops out: the interval is that of the splits' mean differences."""
    random = np.random.default_rng(0)
    common, own = random.normal(0, 5, (2, 8, 3)), random.normal(0, 0.1, (8, 3))
    own[0] += 1

    def stage(values: np.ndarray) -> dict[str, list[dict[str, dict[str, float]]]]:
        return {f'split{number}': [{'result': {'psnr': value}} for value in row] for number, row in enumerate(values)}

    figures = {'direct': stage(common[0]), 'damma': stage(common[0] + own)}
    (found,) = paired_differences(figures, 'result', ['psnr', 'lpips'])
    assert (found['stage'], found['minus'], list(found['figures'])) == ('damma', 'direct', ['psnr'])
    about = found['figures']['psnr']
    by_split = own.mean(axis=1)
    assert about['mean'] == pytest.approx(by_split.mean())
    low, high = bootstrap_interval(by_split[:, None], np.arange(8), seed=0, resamples=10_000, confidence=0.95)
    assert (about['low'], about['high']) == (pytest.approx(low[0]), pytest.approx(high[0]))
    assert about['high'] - about['low'] < 0.8  # of single exemplars, unpaired, it were some 4 dB
    assert (about['splits'], about['exemplars']) == (8, 24)


def test_of_one_split_the_exemplars_are_resampled() -> None:
    figures = {name: {'all': [{'result': {'psnr': value + add}} for value in (1.0, 2.0, 4.0)]}
               for name, add in (('one', 0.0), ('two', 0.5))}  # fmt: skip
    about = paired_differences(figures, 'result', ['psnr'])[0]['figures']['psnr']
    assert (about['mean'], about['low'], about['high']) == (0.5, 0.5, 0.5) and about['exemplars'] == 3
    single = {name: {'all': split['all'][:1]} for name, split in figures.items()}
    about = paired_differences(single, 'result', ['psnr'])[0]['figures']['psnr']
    assert (about['mean'], about['low'], about['p']) == (0.5, None, None)
    assert paired_differences({'one': figures['one']}, 'result', ['psnr']) == []


def test_one_exemplar_has_no_deviation() -> None:
    rows = oneshot_report.table({'adapt': {'all': [{'result': {'psnr': 3.0}}]}}, ['psnr'])
    assert rows == [{'network': 'adapt', 'figures': {'psnr': {'mean': 3.0, 'deviation': None}}}]


# ---- bad input -------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    'unknown key': ({'exemplar': 3}, ['o.yml:', "'oneshot.exemplar'", "Did you mean 'exemplars'?"]),
    'wrong value': ({'exemplars': 0}, ["'oneshot.exemplars' is 0"]),
    'no mapping of splits': ({'splits': ['left_*']}, ["'oneshot.splits' is ['left_*']"]),
    'no name for a folder': ({'splits': {'a/b': ['left_*']}}, ["which 'a/b' is not"]),
    'empty split': ({'splits': {'a': []}}, ["that of 'a' is empty"]),
    'unknown stage': ({'stages': ['adpt']}, ["names 'adpt'", "Did you mean 'adapt'?"]),
    'a stage twice': ({'stages': ['adapt', 'adapt']}, ['once each']),
    'pattern that fits nothing': ({'splits': {'a': ['up_*']}}, ["split 'a'", "'up_*'", 'fits no key']),
    'one image': ({'splits': {'a': ['left_0']}}, ["split 'a'", 'has 1 images', 'at least two']),
    'unknown set': ({'set': 'val_targte'}, ["'val_targte'", "Did you mean 'val_target'?"]),
}


@pytest.mark.parametrize('case', BAD)
def test_refused(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block, words = BAD[case]
    write(folder, block)
    message = refused(folder, capsys)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        ({'val': {'metrics': {'psnr': {'type': 'PSNR', 'crop_border': 4}}}}, 'val.metrics.psnr'),
        ({'degradation': {'type': 'CascadedBilinearDown', 'scale': 2}}, 'degradation'),
        ({'manual_seed': 5}, 'manual_seed'),
    ],
)
def test_stages_that_cannot_be_compared_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], key: str
) -> None:
    stages = copy.deepcopy(OPTIONS['stages'])
    stages['other'] = {**stages['adapt'], **change}
    write(folder, {**OPTIONS['oneshot'], 'stages': ['adapt', 'other']}, stages=stages)
    message = refused(folder, capsys)
    assert f"stages 'adapt' and 'other' are compared, but '{key}' differs: make it equal" in message
    assert message.startswith('fsr: error: o.yml:')


def test_sources_must_be_trained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Stage 'source' is not trained yet" in refused(folder, capsys)
    assert 'run `fsr train -opt o.yml` first, or give the --set' in refused(folder, capsys)


def test_without_a_stage_to_repeat(folder: Path) -> None:
    tiny.write_faces(folder / 'faces')
    tiny.write_options(folder / 'other.yml', tiny.options())
    with pytest.raises(UserError, match=r"no stage 'adapt' to repeat \(there are: train\)"):
        plan(config.load('other.yml'))


def test_changed_options_are_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    message = refused(trained, capsys, '--set', 'stages.adapt.train.ema_decay=0.5')
    assert "Stage 'left/adapt_0' is finished with other options" in message
    message = refused(trained, capsys, '--set', 'stages.source.train.ema_decay=0.5')
    assert "Stage 'source' is finished with other options" in message
