"""Whatever is wrong is said before anything is drawn: a folder that is not there, or another option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fsr_plugins import config, preflight
from fsr_plugins.portraits.spec import PortraitSpec
from fsr_plugins.stores import SCHEMES
from fsr_plugins.stores.records import Face


def test_nothing_is_drawn_where_a_folder_is_missing(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setitem(SCHEMES, 'drawn', drawn.append)
    changes = ['datasets.val.dataroot_gt=drawn://faces']
    for missing in (['stages.second.datasets.train.dataroot_gt=no/folder'], ['datasets.train.dataroot_gt=no/folder']):
        report = preflight.inspect(config.load(experiment_file, [*changes, *missing]), dry_steps=True)
        errors = [finding.message for finding in report.findings if finding.level == 'error']
        assert len(errors) == 1 and "The data folder 'no/folder' does not exist" in errors[0]
        assert not drawn


@pytest.fixture
def faces(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """An experiment on 20 built-in faces, and a list of how many are drawn at their place."""
    drawn: list[str] = []

    def count(spec: PortraitSpec) -> Iterator[Face]:
        drawn.append(f'{spec.split} {spec.number}')
        for index in range(spec.number):
            image = np.full((spec.size, spec.size, 3), index, np.uint8)
            yield Face(f'{index:06d}', image, 0, np.zeros((5, 2), np.float32), None)

    monkeypatch.setenv('FSR_DATASETS', str(experiment_file.parent / 'sets'))
    monkeypatch.setattr('fsr_plugins.portraits.store.draw', count)
    return experiment_file, drawn


FACES = ['datasets.train.dataroot_gt=portraits://studio/train?number=20&size=16',
         'datasets.val.dataroot_gt=portraits://studio/test?number=20&size=16']  # fmt: skip


@pytest.mark.parametrize(
    'change',
    [
        'datasets.val.dataroot_gt=portraits://studio/test?number=20&size=17',
        'datasets.val.dataroot_gt=portraits://studio/test?number=20&sice=16',
        'stages.second.network_g.num_feat=0',
        'stages.second.train.scheduler={type: StepLR, step_size: 0}',
        'val.metrics.psnr.crop_border=8',
    ],
)
def test_nothing_is_drawn_where_an_option_is_wrong(faces: tuple[Path, list[str]], change: str) -> None:
    file, drawn = faces
    report = preflight.inspect(config.load(file, [*FACES, change]), dry_steps=True)
    assert report.errors
    assert all(what.endswith(' 16') for what in drawn)  # a few, that stand for all
    assert not (file.parent / 'sets').exists()


def test_a_message_names_faces_by_their_spec(faces: tuple[Path, list[str]]) -> None:
    change = 'datasets.val.dataroot_gt=portraits://studio/test?number=20&size=17'
    report = preflight.inspect(config.load(faces[0], [*FACES, change]), dry_steps=True)
    errors = [finding.message for finding in report.findings if finding.level == 'error']
    assert any("'portraits://studio/test?number=20&size=17:000000' is 17x17" in message for message in errors)
    assert '.lmdb' not in ' '.join(errors)


def test_faces_are_drawn_when_nothing_is_wrong(faces: tuple[Path, list[str]]) -> None:
    file, drawn = faces
    report = preflight.inspect(config.load(file, FACES), dry_steps=True)
    assert not report.errors
    assert drawn == ['train 16', 'test 16', 'train 20', 'test 20']
    # What stages come from is known of all faces, not of those that stood for them.
    inputs = report.standings['first'].inputs
    assert {'datasets.train.dataroot_gt', 'datasets.val.dataroot_gt'} <= inputs['content'].keys()
    assert [finding.check for finding in report.findings].count('dry step') == 2
    preflight.inspect(config.load(file, FACES), dry_steps=True)
    assert len(drawn) == 4
