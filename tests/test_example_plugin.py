"""The example of a method from outside: installed into an empty folder, found, checked, trained, evaluated."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import pytest
from outside import EXAMPLES, check_small_and_unknown, entry_points, fsr, install

OPTIONS = EXAMPLES / 'fsr_softedge' / 'options' / 'softedge.yml'
#: Seconds on two busy cores, instead of the minutes of the option file as it is.
TINY = (
    'datasets.train.dataroot_gt=portraits://studio/train?number=6&size=32',
    'datasets.train.batch_size_per_gpu=2',
    'datasets.val.dataroot_gt=portraits://studio/test?number=2&size=32',
    'stages.teacher.train.total_iter=3',
    'stages.student.train.total_iter=3',
)


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """A folder into which the plugin, and nothing else, is installed."""
    return install('fsr_softedge', tmp_path_factory.mktemp('outside'))


@pytest.fixture(scope='module')
def trained(site, tmp_path_factory) -> Path:
    """The folder of the experiment, both stages trained."""
    place = tmp_path_factory.mktemp('work')
    settings = [word for each in TINY for word in ('--set', each)]
    done = fsr(site, place, 'train', '-opt', str(OPTIONS), *settings)
    assert done.returncode == 0, done.stderr
    return place / 'experiments' / 'softedge'


def test_it_is_small_and_unknown_to_the_repository():
    check_small_and_unknown('fsr_softedge', 'softedge')


def test_it_brings_one_entry_point(site):
    assert entry_points(site) == [('fsr_plugins', 'softedge', 'fsr_softedge')]


def test_both_stages_train_and_the_result_is_measured(trained):
    summary = json.loads((trained / 'summary.json').read_text())
    assert {name: stage['iterations'] for name, stage in summary['stages'].items()} == {'teacher': 3, 'student': 3}
    figures = summary['validation']['unseen']
    assert set(figures) == {'bicubic', 'result', 'teacher', 'student'}
    for values in figures.values():
        assert set(values) == {'psnr', 'ssim'}
        assert all(math.isfinite(value) for value in values.values())
    # Untrained networks enlarge like bicubic but for a little; a broken hand-over or validation is far off.
    assert figures['bicubic']['psnr'] > 15
    assert abs(figures['teacher']['psnr'] - figures['bicubic']['psnr']) < 8
    assert cv2.imread(str(trained / 'comparison.png')) is not None


def test_the_second_stage_is_taught_by_the_first(trained):
    lines = (trained / 'student' / 'metrics.jsonl').read_text().splitlines()
    assert any('l_edge' in line for line in lines)
    assert not any('l_edge' in line for line in (trained / 'teacher' / 'metrics.jsonl').read_text().splitlines())
    first, second = (
        json.loads((trained / stage / 'done.json').read_text())['validation']['unseen']
        for stage in ('teacher', 'student')
    )
    assert second['teacher'] == pytest.approx(first['result'])


def test_without_it_the_option_file_is_refused(tmp_path):
    done = fsr(tmp_path / 'nothing', tmp_path, 'train', '-opt', str(OPTIONS))
    assert done.returncode == 2
    assert 'SoftEdge' in done.stderr and 'Traceback' not in done.stderr
