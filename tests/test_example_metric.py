"""The example of a metric from outside: named in an option file, measured, and compared with its published form."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from outside import EXAMPLES, check_small_and_unknown, entry_points, fsr, install
from scipy.signal import convolve2d

pytestmark = pytest.mark.long

OPTIONS = EXAMPLES / 'fsr_edge_metric' / 'options' / 'gmsd.yml'


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the metric, and nothing else, is installed."""
    return install('fsr_edge_metric', tmp_path_factory.mktemp('outside'))


@pytest.fixture(scope='module')
def place(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces, and the option file's experiment trained on them for two iterations."""
    place = tmp_path_factory.mktemp('work')
    generator = np.random.default_rng(0)
    (place / 'faces').mkdir()
    for name in 'abc':
        image = cv2.resize(generator.integers(0, 256, (9, 9, 3), np.uint8), (36, 28), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place / 'faces' / f'{name}.png'), image)
    settings = [
        'train.total_iter=2', 'val.val_freq=2', 'val.save_img=true', 'datasets.train.batch_size_per_gpu=2',
        'datasets.train.dataroot_gt=faces', 'datasets.val.dataroot_gt=faces', 'num_gpu=0',
        'val.metrics.gmsd_coarse={type: GMSD, reduce: 3}',
    ]  # fmt: skip
    done = fsr(site, place, 'train', '-opt', OPTIONS, *(word for each in settings for word in ('--set', each)))
    assert done.returncode == 0, done.stderr
    return place


def published(sr: Path, gt: Path, reduce: int) -> float:
    """GMSD of two image files as its authors' MATLAB code takes it (there ``reduce`` is 2), filter by filter."""
    gradients = []
    for file in (sr, gt):
        blue, green, red = np.moveaxis(cv2.imread(str(file)).astype(np.float64), 2, 0)
        grey = 0.298936021293775 * red + 0.587043074451121 * green + 0.114020904255103 * blue
        if reduce == 2:
            # conv2(…, 'same') of MATLAB begins with the mean of the first two rows and columns.
            grey = convolve2d(grey, np.full((2, 2), 0.25))[1:, 1:][::2, ::2]
        elif reduce > 2:  # a last block that is not full is filled up with zeros, as that of conv2
            height, width = (-(-side // reduce) for side in grey.shape)
            filled = np.zeros((height * reduce, width * reduce))
            filled[: grey.shape[0], : grey.shape[1]] = grey
            grey = filled.reshape(height, reduce, width, reduce).mean((1, 3))
        across = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]]) / 3
        gradients.append(np.hypot(convolve2d(grey, across, mode='same'), convolve2d(grey, across.T, mode='same')))
    similarity = (2 * gradients[0] * gradients[1] + 170) / (gradients[0] ** 2 + gradients[1] ** 2 + 170)
    return float(similarity.std(ddof=1))


def test_it_is_small_and_unknown_to_the_repository() -> None:
    check_small_and_unknown('fsr_edge_metric', 'gmsd')


def test_it_brings_one_entry_point(site: Path) -> None:
    assert entry_points(site) == [('fsr_plugins', 'edge_metric', 'fsr_edge_metric')]


def test_it_is_listed_with_where_it_comes_from(site: Path, tmp_path: Path) -> None:
    done = fsr(site, tmp_path, 'list', 'metrics')
    (row,) = [line.split('\t') for line in done.stdout.splitlines() if line.startswith('GMSD')]
    assert row[:2] == ['GMSD', 'fsr_edge_metric'] and 'reduce: int = 2' in row[3]


@pytest.mark.parametrize(('entry', 'reduce'), [('gmsd', 2), ('gmsd_fine', 1), ('gmsd_coarse', 3)])
def test_its_figure_is_the_published_one(place: Path, entry: str, reduce: int) -> None:
    summary = json.loads((place / 'experiments' / 'gmsd' / 'summary.json').read_text())
    written = sorted((place / 'experiments' / 'gmsd').rglob('unseen/*.png'))
    assert [file.name[0] for file in written] == ['a', 'b', 'c']
    expected = [published(file, place / 'faces' / f'{file.name[0]}.png', reduce) for file in written]
    assert min(expected) > 0.01
    assert summary['validation']['unseen']['result'][entry] == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_wrong_argument_is_refused_before_anything_is_trained(site: Path, place: Path) -> None:
    settings = ('datasets.train.dataroot_gt=faces', 'datasets.val.dataroot_gt=faces', 'val.metrics.gmsd.redcue=1')
    done = fsr(site, place, 'doctor', '-opt', OPTIONS, *(word for each in settings for word in ('--set', each)))
    assert done.returncode == 2
    assert 'redcue' in done.stderr + done.stdout and "'reduce'" in done.stderr + done.stdout
