"""The example of a dataset from outside: recordings are paired by its list, drawn by the seed, and trained on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from outside import EXAMPLES, check_small_and_unknown, entry_points, fsr, install, python

pytestmark = pytest.mark.long

OPTIONS = EXAMPLES / 'fsr_pairs_dataset' / 'options' / 'recorded.yml'
#: The pixels of an LR say by their value which one it is.
RECORDINGS = {'anna': ['one_anna', 'two_anna', 'far_anna'], 'ben': ['one_ben'], 'carl': ['two_carl', 'one_carl']}
VALUES = {key: 10 * number + 10 for number, key in enumerate(sum(RECORDINGS.values(), []))}
SETTINGS = ('train.total_iter=2', 'val.val_freq=2', 'datasets.train.batch_size_per_gpu=2', 'num_gpu=0')


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the dataset, and nothing else, is installed."""
    return install('fsr_pairs_dataset', tmp_path_factory.mktemp('outside'))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with faces, recordings and a list, where the option file looks for them."""
    data = tmp_path / 'datasets' / 'recorded'
    for kind in ('gt', 'lq'):
        (data / kind).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for key in RECORDINGS:
        cv2.imwrite(str(data / 'gt' / f'{key}.png'), generator.integers(0, 256, (24, 24, 3), np.uint8))
    for key, value in VALUES.items():
        cv2.imwrite(str(data / 'lq' / f'{key}.png'), np.full((6, 6, 3), value, np.uint8))
    write_list(tmp_path, ''.join(f'{gt},{lq}\n' for gt, several in RECORDINGS.items() for lq in several))
    (data / 'train.txt').write_text('anna\nben\n')
    (data / 'held_out.txt').write_text('carl\n')
    return tmp_path


def write_list(place: Path, text: str) -> None:
    (place / 'datasets' / 'recorded' / 'list.csv').write_text(text)


def fsr_with_options(site: Path, place: Path, command: str):
    return fsr(site, place, command, '-opt', OPTIONS, *(word for each in SETTINGS for word in ('--set', each)))


def test_it_is_small_and_unknown_to_the_repository() -> None:
    check_small_and_unknown('fsr_pairs_dataset', 'pairlistdataset')


def test_it_brings_one_entry_point(site: Path) -> None:
    assert entry_points(site) == [('fsr_plugins', 'pairs_dataset', 'fsr_pairs_dataset')]


def test_it_trains_and_validates(site: Path, place: Path) -> None:
    done = fsr_with_options(site, place, 'train')
    assert done.returncode == 0, done.stderr
    experiment = place / 'experiments' / 'recorded'
    summary = json.loads((experiment / 'summary.json').read_text())
    assert {stage['iterations'] for stage in summary['stages'].values()} == {2}
    # The first recording of the held-out face is 50 everywhere; enlarged bicubically, it still is.
    hr = cv2.imread(str(place / 'datasets' / 'recorded' / 'gt' / 'carl.png')) / 255
    assert VALUES['two_carl'] == 50
    expected = -10 * np.log10(((hr - 50 / 255) ** 2).mean())
    assert summary['validation']['held_out']['bicubic']['psnr'] == pytest.approx(expected, abs=1e-3)
    (used,) = experiment.rglob('images/lq.txt')
    assert used.read_text().split() == [*RECORDINGS['anna'], *RECORDINGS['ben']]


def test_which_recording_is_drawn_follows_from_the_seed_alone(site: Path, place: Path) -> None:
    code = """
import json
import numpy as np
from fsr_pairs_dataset import PairListDataset
from fsr_plugins.data import TrainLoader
root = 'datasets/recorded'
opt = {'phase': 'train', 'scale': 4, 'seed': 7, 'dataroot_gt': f'{root}/gt', 'dataroot_lq': f'{root}/lq'}
dataset = PairListDataset({**opt, 'use_rot': True, 'pairs': f'{root}/list.csv'})
alone = [dataset[number] for number in range(60)]
shown = [(one['gt_path'], one['lq_path'], int(one['lq'].min()), int(one['lq'].max())) for one in alone]
with TrainLoader(dataset, 6, seed=1, threads=2) as loader:
    batch = next(iter(loader))
    of_loader = [(int(lq.min()), key) for lq, key in zip(batch['lq'], batch['lq_path'])]
print(json.dumps([shown, of_loader, dataset[5]['lq_path'] == alone[5]['lq_path']]))
"""
    shown, of_loader, again = json.loads(python(site, place, code))
    assert again
    for gt, lq, smallest, largest in shown:
        assert lq in RECORDINGS[gt] and smallest == largest == VALUES[lq]
    drawn = {gt: {lq for other, lq, _, _ in shown if other == gt} for gt in RECORDINGS}
    assert drawn == {gt: set(several) for gt, several in RECORDINGS.items()}
    assert all(VALUES[key] == value for value, key in of_loader) and len(of_loader) == 6


def test_a_list_without_one_of_the_faces_is_refused(site: Path, place: Path) -> None:
    write_list(place, 'anna,one_anna\ncarl,two_carl\n')
    done = fsr_with_options(site, place, 'train')
    assert done.returncode == 2
    assert "key 'datasets.train': 'datasets/recorded/list.csv' names no LR for 'ben'" in done.stderr
    assert 'Traceback' not in done.stderr and not (place / 'experiments').exists()


def test_lists_that_are_none_and_crops_are_refused(site: Path, place: Path) -> None:
    code = """
from pathlib import Path
from fsr_pairs_dataset import PairListDataset
from fsr_plugins.errors import UserError
root = 'datasets/recorded'
opt = {'name': 'x', 'scale': 4, 'dataroot_gt': f'{root}/gt', 'dataroot_lq': f'{root}/lq', 'pairs': 'list.csv'}
for text in ('anna,one_anna ben,four_ben carl,two_carl', 'anna;one_anna', None):
    Path('list.csv').write_text('\\n'.join(text.split())) if text else Path('list.csv').unlink()
    try:
        PairListDataset(opt)
    except UserError as error:
        print(error)
try:
    PairListDataset({**opt, 'gt_size': 16})
except UserError as error:
    print(error)
"""
    unknown, unlike, absent, crop = python(site, place, code).splitlines()
    assert unknown == "'list.csv' names no LR for 'ben', or one not in 'datasets/recorded/lq'."
    assert unlike.startswith("'pairs: list.csv' has to be a file of lines gt,lq: ")
    assert absent.startswith("'pairs: list.csv' has to be a file of lines gt,lq: [Errno 2] No such file")
    assert crop == "The dataset 'x': 'gt_size' must be null (it is 16)."


def test_a_recording_of_another_size_is_refused(site: Path, place: Path) -> None:
    cv2.imwrite(str(place / 'datasets' / 'recorded' / 'lq' / 'far_anna.png'), np.zeros((7, 6, 3), np.uint8))
    done = fsr_with_options(site, place, 'train')
    assert done.returncode == 2
    assert 'far_anna.png' in done.stderr and '[7, 6]' in done.stderr and '[6, 6]' in done.stderr
