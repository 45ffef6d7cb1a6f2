"""The benchmark against BasicSR: its parts run, and both sides do the same work. Nothing here is timed."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from same_process import SameProcess

SCRIPTS = Path(__file__).parents[1] / 'scripts'
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def script() -> Iterator[ModuleType]:
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import benchmark_engine

        yield benchmark_engine


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of smooth images larger than the faces that are cut out of them."""
    folder = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    for number in range(5):
        small = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), cv2.resize(small, (140, 132), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope='module')
def faces(script: ModuleType, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Faces in all forms; more than there are images, so that some come twice."""
    return script.faces.prepare(tmp_path_factory.mktemp('faces'), 8, images)


def test_the_command_writes_machine_versions_and_ratios(
    script: ModuleType, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    for module in (script.loaders, script.validation):
        monkeypatch.setattr(module, 'Side', SameProcess)
    file = tmp_path / 'result.json'
    names = ['loader_folder', 'loader_lmdb', 'loader_synth', 'validation', 'train_gpu']
    arguments = ['--quick', '--images', str(images), '--json', str(file), '--only', *names]
    assert script.main(arguments) == 0
    content = json.loads(file.read_text())
    assert list(content['ratios']) == names
    assert content['ratios'].pop('train_gpu') is None
    for name, ratio in content['ratios'].items():
        figures = content['figures'][name]
        assert ratio == pytest.approx(figures['ours'] / figures['basicsr'], abs=1e-3)
    assert set(content['figures']['loader_lmdb']) >= {'0 workers', '2 workers'}
    assert content['machine']['cores'] >= 1
    assert content['machine']['gpu'] is None
    assert content['versions']['basicsr'] == '1.4.2'


def test_an_empty_folder_of_images_is_refused(script: ModuleType, tmp_path: Path) -> None:
    assert script.main(['--quick', '--images', str(tmp_path)]) == 2


def pairs_by_name(batch: dict[str, Any], model: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    names = [Path(path).stem for path in batch['gt_path']]
    return {name: (model.gt[row], model.lq[row]) for row, name in enumerate(names)}


@pytest.mark.parametrize('form', ['folder', 'lmdb', 'synth'])
def test_both_loaders_deliver_the_same_pairs(
    script: ModuleType, faces: Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders = script.loaders
    monkeypatch.setattr(loaders, 'BATCH', 8)
    blocks = {
        'folder': (faces.gt, loaders.basicsr_options(faces.gt, faces.lq, 'disk'), loaders.PairedImageDataset),
        'lmdb': (
            faces.raw_lmdb,
            loaders.basicsr_options(faces.gt_lmdb, faces.lq_lmdb, 'lmdb'),
            loaders.PairedImageDataset,
        ),
        'synth': (faces.gt, loaders.basicsr_options(faces.gt, faces.lq, 'disk'), loaders.SynthesisDataset),
    }
    root, options, cls = blocks[form]
    ours, theirs = loaders.our_model(CPU), loaders.basicsr_model(CPU)
    seen: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []
    for dataset, model in ((loaders.our_dataset(root, 'off'), ours), (cls({**options, 'use_hflip': False}), theirs)):
        if model is ours:
            dataset.options.use_hflip = False
            loader = loaders.TrainLoader(dataset, 8)
        else:
            loader = loaders.build_dataloader(dataset, {**dataset.opt, 'num_worker_per_gpu': 0}, num_gpu=0)
        batch = next(iter(loader))
        model.feed_data(batch)
        seen.append(pairs_by_name(batch, model))
    assert seen[0].keys() == seen[1].keys()
    for name, (gt, lq) in seen[0].items():
        torch.testing.assert_close(gt, seen[1][name][0], atol=1e-6, rtol=0)
        # The synthetic LQ of BasicSR is neither rounded nor clamped.
        tolerance = 0.5 / 255 + 1e-5 if form == 'synth' else 1e-6
        torch.testing.assert_close(lq, seen[1][name][1].clamp(0, 1), atol=tolerance, rtol=0)


def test_both_models_train_from_the_same_first_loss(
    script: ModuleType, faces: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script.training, 'Side', SameProcess)
    small = {**script.training.NETWORK, 'num_feat': 4, 'num_block': 1}
    found = script.training.compare('train_cpu', faces, CPU, script.QUICK, script.training.AUTO_SETTINGS, small)
    assert found.ratio == pytest.approx(found.ours / found.basicsr)
    assert found.details['setting'] in [dict(setting) for setting in script.training.AUTO_SETTINGS]


def test_a_side_answers_from_its_own_process(script: ModuleType) -> None:
    with script.training.Side(Counter, 'abb') as side:
        assert side.call('total') == 3
        with pytest.raises(RuntimeError, match='no_such_method'):
            side.call('no_such_method')


def test_a_side_may_have_workers_of_its_own(script: ModuleType, faces: Any) -> None:
    loaders = script.loaders
    options = loaders.basicsr_options(faces.gt, faces.lq, 'disk')
    with script.training.Side(loaders.BasicSRLoader, CPU, script.QUICK, loaders.PairedImageDataset, options) as side:
        assert side.call('run', 2) > 0


def test_an_ended_benchmark_leaves_its_contexts(script: ModuleType) -> None:
    left = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, script.unwinding_when_ended(), contextlib.ExitStack() as stack:
        stack.callback(left.append, True)
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert left == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_start_of_a_process_is_taken_from_its_stamp(script: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, '-c', 'from benchmark.stamp import stamp; stamp()']
    seconds = script.start_up.starter(tmp_path, {'scale': 8}, lambda file: command)()
    assert seconds > 0
    with pytest.raises(RuntimeError, match='broken'):
        script.start_up.starter(tmp_path, {}, lambda file: [sys.executable, '-c', 'raise SystemExit("broken")'])()


def test_seconds_are_compared_the_other_way_round(script: ModuleType) -> None:
    found = script.Comparison('start_up', 's', ours=2.0, basicsr=6.0, how='', larger_is_better=False)
    assert found.ratio == 3.0
    assert 'start_up' in list(script.report.table({'start_up': found}).columns[0].cells)
