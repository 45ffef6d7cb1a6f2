"""Stages that make a set of images: what is in it, in which order they run, how they go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch

import fsr_plugins
from fsr_plugins import config, pipeline
from fsr_plugins.config.inputs import gather_inputs
from fsr_plugins.degradations import BicubicDown
from fsr_plugins.engine import set_generation
from fsr_plugins.engine.distributed import World
from fsr_plugins.errors import Interrupted, RunError, UserError
from fsr_plugins.models.set_generation import SuperResolveModel
from fsr_plugins.preflight import inspection
from fsr_plugins.stores.opening import open_store

FACES = 10


def options() -> dict[str, Any]:
    """Trains, restores the training set, trains on what came out."""
    values = tiny.options()
    values['datasets']['train'].pop('gt_size')
    values['train']['total_iter'] = 2
    restore = {
        'model_type': 'SuperResolveModel',
        'path': {'pretrain_network_g': 'stage:first/net_g'},
        'train': None,
        'val': None,
        'datasets': {'train': {'batch_size_per_gpu': 3}},
    }
    again = {'datasets': {'train': {'dataroot_gt': 'stage:restore/images.lmdb'}}}
    return {**values, 'stages': {'first': {}, 'restore': restore, 'again': again}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces', FACES)
    return tmp_path


def load(folder: Path, *overrides: str) -> config.Experiment:
    return config.load(tiny.write_options(folder / 'o.yml', options()), overrides)


def test_every_image_of_the_set_is_restored_and_trained_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_generation, 'PART', 4)
    summary = pipeline.run(load(folder))
    made = open_store(folder / 'experiments/tiny/restore/images.lmdb')
    assert list(made.keys) == sorted(str(number) for number in range(FACES))
    assert summary['stages']['restore']['iterations'] == FACES
    assert summary['stages']['restore']['sha256'] == made.manifest.checksum
    net = fsr_plugins.load(summary['stages']['first']['checkpoint'])
    for key in made.keys:
        hr = torch.from_numpy(cv2.imread(str(folder / f'faces/{key}.png'))[..., ::-1].copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            sr = net(BicubicDown(4)(hr / 255)).clamp(0, 1)
        # A batch of three may be summed in another order than a batch of one.
        assert np.abs(made.image(key).astype(int) - sr[0].permute(1, 2, 0).mul(255).round().numpy()).max() <= 1
    assert (folder / 'experiments/tiny/again/images/gt.txt').read_text().split() == list(made.keys)
    assert not (folder / 'experiments/tiny/restore/parts').exists()


def test_stopped_it_goes_on_with_the_parts_that_are_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_generation, 'PART', 4)
    made: list[int] = []
    produce = SuperResolveModel.generate

    def stopping(self: SuperResolveModel) -> torch.Tensor:
        made.extend(self.batch['index'].tolist())
        if len(made) == 3:
            stops[-1].number = 15
        return produce(self)

    stops: list[Any] = []
    original = set_generation.StopSignal

    def remembered() -> Any:
        stops.append(original())
        return stops[-1]

    monkeypatch.setattr(set_generation, 'StopSignal', remembered)
    monkeypatch.setattr(SuperResolveModel, 'generate', stopping)
    monkeypatch.setattr(inspection, 'dry_step', lambda *arguments: [])
    with pytest.raises(Interrupted, match='to go on'):
        pipeline.run(load(folder))
    assert made == [0, 1, 2, 3]
    assert [path.name for path in (folder / 'experiments/tiny/restore/parts').glob('*.npz')] == ['000000.npz']
    changed = load(folder, 'stages.restore.channels_last=true')
    with pytest.raises(UserError, match=r'channels_last.*; or let --accept-changes make it anew'):
        pipeline.run(changed)
    pipeline.run(load(folder))
    assert made == list(range(FACES))
    pipeline.run(load(folder))
    assert made == list(range(FACES))


def test_accepted_changes_make_a_begun_set_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_generation, 'PART', 4)
    pipeline.run(load(folder))
    stage = folder / 'experiments/tiny/restore'
    inputs = json.loads((stage / 'done.json').read_bytes())['inputs']
    (stage / 'done.json').unlink()
    shutil.rmtree(stage / 'images.lmdb')
    (stage / 'parts').mkdir()
    (stage / 'parts/inputs.json').write_text(json.dumps(inputs))
    black = {str(number): np.zeros((24, 24, 3), np.uint8) for number in range(4)}
    np.savez(stage / 'parts/000000.npz', **black)
    pipeline.run(load(folder, 'stages.restore.channels_last=true'), accept_changes=True)
    assert all(open_store(stage / 'images.lmdb').image(str(number)).any() for number in range(FACES))
    (kept,) = folder.glob('experiments/tiny/restore_archived_*')
    assert (kept / 'parts/000000.npz').exists()


def test_a_set_without_its_record_is_not_taken_for_one_of_other_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may be killed when all images are together and nothing says yet what they were made by."""
    write, stage = pipeline._write_record, folder / 'experiments/tiny/restore'

    def killed(*arguments: Any) -> Any:
        if arguments[0].name == 'restore':
            raise RunError('killed')
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, '_write_record', killed)
        with pytest.raises(RunError, match='killed'):
            pipeline.run(load(folder))
    assert (stage / 'images.lmdb').exists() and not (stage / 'done.json').exists()
    with pytest.raises(UserError, match="'restore' has begun with other options or data: channels_last"):
        pipeline.run(load(folder, 'stages.restore.channels_last=true'))
    written = (stage / 'images.lmdb').stat().st_mtime_ns
    (stage / 'parts').rename(folder / 'parts')
    shutil.copytree(folder / 'parts', stage / 'parts')
    pipeline.run(load(folder))
    assert (stage / 'images.lmdb').stat().st_mtime_ns == written and not (stage / 'parts').exists()
    # Killed once more, between the record and the end of the parts.
    shutil.copytree(folder / 'parts', stage / 'parts')
    pipeline.run(load(folder))
    assert not (stage / 'parts').exists()


def test_the_first_process_says_for_all_whether_a_set_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that comes late finds a set that the first has put together meanwhile, and waits where others wait."""
    pipeline.run(load(folder))
    stage = load(folder).stages['restore']
    told = [False, None, [], None]
    monkeypatch.setattr(set_generation.distributed, 'on_main', lambda work: told.pop(0))
    inputs = gather_inputs(stage.opt, 2)
    late = set_generation.SetGenerator(config.runtime(stage, is_train=False), stage.folder, World(1, 2), inputs)
    assert late.run()['iterations'] == FACES
    assert told == []


@pytest.mark.parametrize('keep', [0, 100, -60])
def test_a_part_that_is_damaged_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    assemble = set_generation.SetGenerator._assemble

    def damage(self: set_generation.SetGenerator, target: Path) -> None:
        part = self.parts / '000000.npz'
        part.write_bytes(part.read_bytes()[:keep])
        assemble(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(set_generation.SetGenerator, '_assemble', damage)
        with pytest.raises(UserError, match=r"000000\.npz' is damaged .*: remove it, and it is made again"):
            pipeline.run(load(folder))
    (folder / 'experiments/tiny/restore/parts/000000.npz').unlink()
    assert pipeline.run(load(folder))['stages']['restore']['iterations'] == FACES


def test_what_cannot_be_gone_over_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="use_hflip' is for training"):
        load(folder, 'stages.restore.datasets.train.use_hflip=true')
    values = options()
    values['stages']['restore'].pop('train')
    with pytest.raises(UserError, match="'restore' trains nothing: set 'train: null'"):
        config.load(tiny.write_options(folder / 'o.yml', values))
