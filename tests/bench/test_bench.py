"""``fsr bench`` from its suite file to its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_adapter
import torch
import yaml
from tiny_suite import write_suite

import fsr_plugins
from fsr_plugins import pipeline
from fsr_plugins.bench import evaluation
from fsr_plugins.cli import main
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import Interrupted
from fsr_plugins.registry import build_network
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face

from basicsr.metrics import calculate_psnr, calculate_ssim  # isort: skip

Finished = tuple[Path, dict[str, Any]]
RECOGNISER = {'type': 'SphereFace20', 'adapt': 'resize', 'path': 'recogniser.pth'}


def bench(*more: str) -> dict[str, Any]:
    assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json', *more]) == 0
    return json.loads(Path('found.json').read_text())


def by_hand(checkpoint: Path | None) -> tuple[list[float], list[float]]:
    """PSNR of RGB and SSIM of Y of each test face, by BasicSR's functions on arrays."""
    store = open_store('test.lmdb')
    psnr, ssim = [], []
    for key in store.keys:
        gt = store.image(key)
        hr = torch.from_numpy(gt.copy()).permute(2, 0, 1)[None] / 255
        lq = BicubicDown(scale=2)(hr, None)
        net = fsr_plugins.load(checkpoint) if checkpoint else torch.nn.Upsample(scale_factor=2)
        with torch.no_grad():
            sr = net(lq).clamp(0, 1).mul(255).round().byte()[0].permute(1, 2, 0).numpy()
        bgr = [np.ascontiguousarray(image[..., ::-1]) for image in (sr, gt)]
        psnr.append(calculate_psnr(*bgr, crop_border=0))
        ssim.append(calculate_ssim(*bgr, crop_border=0, test_y_channel=True))
    return psnr, ssim


def test_a_metric_that_the_test_set_cannot_serve_is_found_before_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({'params': build_network({'type': 'SphereFace20'}).state_dict()}, 'recogniser.pth')
    write_suite(folder, metrics={'auc': {'type': 'AllPairs', 'recogniser': RECOGNISER}})
    assert main(['bench', '-opt', 'suite.yml']) == 2
    error = capsys.readouterr().err
    assert "The metric 'auc' of the suite fails: " in error and 'identity' in error
    write_suite(
        folder, test={'dataroot_gt': 'test.lmdb', 'views': ['identity']},
        metrics={'same': {'type': 'Verification', 'recogniser': RECOGNISER}},
    )  # fmt: skip
    store = open_store('test.lmdb')
    write_lmdb(
        folder / 'people.lmdb', (Face(key, store.image(key), place // 2) for place, key in enumerate(store.keys))
    )
    assert main(['bench', '-opt', 'suite.yml', '--set', 'test.dataroot_gt=people.lmdb']) == 2
    assert "The metric 'same' of the suite fails: The set has 2 genuine pairs, but 3000" in capsys.readouterr().err
    assert not list(Path('experiments').rglob('*.pth'))


def test_figures_are_those_of_the_checkpoint_by_basicsr(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, found = finished
    monkeypatch.chdir(folder)
    for name, checkpoint in (('one', 'one/first'), ('two', 'two/second')):
        file = folder / f'experiments/small_suite/{checkpoint}/models/net_g_latest.pth'
        psnr, ssim = by_hand(file)
        figures = found['entries'][name]['figures']
        assert figures['psnr']['mean'] == pytest.approx(np.mean(psnr), abs=1e-3)
        assert figures['ssim_y']['mean'] == pytest.approx(np.mean(ssim), abs=1e-4)
        assert min(psnr) < figures['psnr']['low'] < figures['psnr']['mean'] < figures['psnr']['high'] < max(psnr)
        assert figures['psnr']['n'] == 5 and found['entries'][name]['checkpoint'] == str(file.relative_to(folder))
    difference = found['entries']['one']['against_reference']['psnr']
    means = [found['entries'][name]['figures']['psnr']['mean'] for name in ('one', 'bicubic')]
    assert difference['difference'] == pytest.approx(means[0] - means[1])


def test_people_stand_beside_the_images(finished: Finished) -> None:
    folder, found = finished
    assert found['test']['people'] == {'count': 5, 'source': 'keys', 'alone': 5, 'index': [0, 1, 2, 3, 4]}
    for name in ('report.md', 'report.html'):
        text = (folder / 'experiments/small_suite' / name).read_text()
        assert 'same 5 test faces of 5 people' in text and 'over the people of the 5 test images of 5 people' in text
        assert '5, by the names of the images; 5 images without such a name' in text
        assert 'Metrics are not corrected among each other' in text


def test_verification_is_over_the_people_of_its_pairs(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three people by the store's identities, whose pairs are listed by keys that do not name them."""
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)
    store = open_store('test.lmdb')
    faces = [Face(key, store.image(key), person) for key, person in zip(store.keys, (5, 5, 2, 2, 9), strict=True)]
    write_lmdb(folder / 'people.lmdb', iter(faces), 'raw')
    pairs = [(0, '0', '1', 1), (0, '0', '2', 0), (0, '1', '4', 0), (1, '2', '3', 1), (1, '3', '4', 0)]
    Path('pairs.csv').write_text('fold,first,second,same\n' + ''.join(f'{",".join(map(str, row))}\n' for row in pairs))
    net = build_network({key: value for key, value in RECOGNISER.items() if key != 'path'})
    torch.save({'params': net.state_dict()}, 'recogniser.pth')
    verification = {'type': 'Verification', 'recogniser': RECOGNISER, 'pairs': 'pairs.csv'}
    entry = {'checkpoint': finished[1]['entries']['two']['checkpoint']}
    write_suite(
        folder, name='verified', test={'dataroot_gt': 'people.lmdb'}, papers={},
        metrics={'same': verification, 'psnr': {'type': 'PSNR'}},
        entries={'bicubic': {'type': 'bicubic'}, 'file': entry},
    )  # fmt: skip
    found = bench()
    assert found['test']['people'] == {'count': 3, 'source': 'identities', 'alone': 0, 'index': [1, 1, 0, 0, 2]}
    about = found['entries']['file']
    assert [about['figures']['same'][key] for key in ('unit', 'n', 'people')] == ['pairs', 5, 3]
    assert [about['figures']['psnr'][key] for key in ('unit', 'n', 'people')] == ['images', 5, 3]
    assert {about['against_reference'][metric]['people'] for metric in ('same', 'psnr')} == {3}
    text = (folder / 'experiments/verified/report.md').read_text()
    assert 'test images of 3 people; of verification, over the pairs of 3 people' in text


def test_what_is_there_is_laid_under_the_suite(finished: Finished) -> None:
    folder, found = finished
    meta = torch.load(folder / found['entries']['two']['checkpoint'], weights_only=True)['meta']
    assert (meta['scale'], meta['degradation']) == (2, {'type': 'BicubicDown', 'scale': 2})
    assert meta['arch']['num_feat'] == 6
    assert [store['checksum'] for store in meta['manifests']['train']] == found['train']['checksums']
    assert [store['checksum'] for store in meta['manifests']['val_bench']] == found['test']['checksums']
    assert not (folder / 'experiments/small_suite/one/second').exists()  # nobody asked for it
    training = found['entries']['two']['training']
    assert (training['iterations'], training['images']) == (2 + 4, 12)
    assert training['stages']['first']['trains_network'] and training['machines'][0]['cores'] > 0
    assert found['metrics']['lpips']['absent'] and 'lpips' not in found['entries']['one']['figures']


def test_done_is_done(finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError('this has been done')

    monkeypatch.setattr(pipeline, 'run', never)
    monkeypatch.setattr(evaluation.Evaluator, 'measure', never)
    monkeypatch.setattr('fsr_plugins.bench.cost.speed', never)
    before = {path: path.read_bytes() for path in folder.glob('experiments/small_suite/*.*')}
    assert sorted(path.name for path in before) == ['report.html', 'report.md', 'results.json']
    assert bench() == finished[1]
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize('changed', ['identities', 'pairs'])
def test_figures_are_found_anew_where_points_people_or_lists_have_changed(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)
    pairs = 'fold,first,second,same\n0,0,1,{}\n0,0,2,{}\n1,2,3,1\n1,3,4,0\n'
    Path('pairs.csv').write_text(pairs.format(1, 0))
    net = build_network({key: value for key, value in RECOGNISER.items() if key != 'path'})
    torch.save({'params': net.state_dict()}, 'recogniser.pth')
    metric = {'type': 'Verification', 'recogniser': RECOGNISER, 'pairs': 'pairs.csv'}
    write_suite(folder, metrics={'psnr': {'type': 'PSNR'}, 'verification': metric})
    measure, measured = evaluation.Evaluator.measure, []

    def counted(self: Any, candidate: Any) -> Any:
        measured.append(candidate.name)
        return measure(self, candidate)

    monkeypatch.setattr(evaluation.Evaluator, 'measure', counted)
    bench('--evaluate-only', '--entries', 'bicubic')
    assert measured == ['bicubic', 'HR']
    bench('--evaluate-only', '--entries', 'bicubic')
    assert measured == ['bicubic', 'HR']
    if changed == 'pairs':
        Path('pairs.csv').write_text(pairs.format(0, 1))
    else:
        store = open_store('test.lmdb')
        faces = [Face(key, store.image(key), 7) for key in store.keys]
        shutil.rmtree('test.lmdb')
        write_lmdb('test.lmdb', faces, 'raw')
    bench('--evaluate-only', '--entries', 'bicubic')
    assert measured == ['bicubic', 'HR'] * 2


def test_two_evaluations_give_the_same_figures(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / 'experiments/small_suite/cache')
    again = bench('--evaluate-only', '--entries', 'bicubic,two')
    assert list(again['entries']) == ['bicubic', 'two']
    for name, about in again['entries'].items():
        assert about['figures'] == finished[1]['entries'][name]['figures']
    assert again['test'] == finished[1]['test']


def test_interrupted_it_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, trained = pipeline.run, []

    def run(experiment: Any, **options: Any) -> Any:
        if len(trained) == 1:
            raise Interrupted('asked to stop', 15)
        trained.append(experiment.name)
        return whole(experiment, **options)

    monkeypatch.setattr(pipeline, 'run', run)
    assert main(['bench', '-opt', 'suite.yml']) == 128 + 15
    assert trained == ['one']
    trained[:] = []
    assert main(['bench', '-opt', 'suite.yml', '--evaluate-only']) == 2
    assert trained == []
    monkeypatch.setattr(pipeline, 'run', lambda experiment, **options: trained.append(experiment.name))
    with pytest.raises(Exception, match='net_g_latest'):  # the stub trains nothing, so there is no checkpoint
        main(['bench', '-opt', 'suite.yml'])
    assert trained == ['two']


def test_a_checkpoint_takes_part(finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)
    file = finished[1]['entries']['two']['checkpoint']
    write_suite(folder, name='other', entries={'bicubic': {'type': 'bicubic'}, 'file': {'checkpoint': file}}, papers={})
    found = bench()
    assert found['entries']['file']['figures'] == finished[1]['entries']['two']['figures']
    assert found['entries']['file']['training'] is None


def test_one_shot_adaptation_stands_below(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment with a block ``oneshot`` is trained, repeated by exemplar, and shown in a table of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    faces = {'type': 'FaceDataset', 'dataroot_gt': 'test.lmdb'}
    stages = {
        'source': {'model_type': 'SupervisedModel', 'network_g': tiny_adapter.ARCH},
        'adapt': {
            'model_type': 'TinyAdaptModel',
            'network_sr': tiny_adapter.ARCH,
            'path': {'pretrain_network_sr': 'stage:source/net_g'},
        },
    }
    experiment = {
        'name': 'adapting', 'scale': 2, 'num_gpu': 0, 'degradation': tiny_adapter.DEGRADATION,
        'datasets': {'train': {**faces, 'batch_size_per_gpu': 2}, 'val_target': {**faces, 'name': 'target'}},
        'train': tiny_adapter.TRAIN, 'val': {'val_freq': 3, 'metrics': {'psnr': {'type': 'PSNR'}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False}, 'stages': stages,
        'oneshot': {'exemplars': 2},
    }  # fmt: skip
    tiny.write_options(folder / 'adapting.yml', experiment)
    block = {'opt': 'adapting.yml', 'set': {'oneshot': {'seed': 3}}}
    write_suite(folder, entries={'bicubic': {'type': 'bicubic'}}, oneshot=block, reference=None, papers={})
    found = bench()
    assert found['oneshot']['seed'] == 3 and len(found['oneshot']['repeats']) == 2
    assert (folder / 'experiments/small_suite/oneshot/oneshot.json').exists()
    text = (folder / 'experiments/small_suite/report.html').read_text()
    assert 'One-shot adaptation to &#x27;target&#x27;' in text


def test_a_bundled_network_takes_part_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('suite.yml').write_text(
        yaml.safe_dump(
            {
                'name': 'named', 'scale': 8, 'degradation': {'type': 'BicubicDown', 'scale': 8},
                'test': {'dataroot_gt': 'portraits://studio/test?number=2&size=128'},
                'metrics': {'psnr': {'type': 'PSNR'}},
                'entries': {
                    'bicubic': {'type': 'bicubic'},
                    'bundled': {'checkpoint': 'face_x8', 'unfair': 'it has seen photographs'},
                },
            }
        )
    )  # fmt: skip
    assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json']) == 0
    found = json.loads(Path('found.json').read_text())['entries']
    assert found['bundled']['checkpoint'] == 'face_x8'
    means = {name: about['figures']['psnr']['mean'] for name, about in found.items() if name != 'HR'}
    assert means['bundled'] > means['bicubic'] + 0.5
