"""The options ``keys`` and ``exclude_keys``: which images they choose, and what of a dataset follows the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.data import CompareFaceDataset, FaceDataset, RealFaceDataset, SourceTargetDataset
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

LIGHTS = ('A+000E+00', 'A+035E+15', 'A-035E+15', 'A+110E+40')
#: Of three people; a key with a bracket, and one that a pattern of that look means too.
KEYS = [f'yaleB0{person}_P00{light}' for person in (1, 2, 3) for light in LIGHTS] + ['z1', 'z[1]']
FRONTAL = ['yaleB01_P00A+000E+00', 'yaleB02_P00A+000E+00', 'yaleB03_P00A+000E+00']


@ARCH_REGISTRY.register()
class KeyChoiceRecogniser(Recogniser):
    """Mean brightness as an angle: of two faces the more alike in brightness have the larger cosine."""

    face_size = (4, 4)
    embedding_size = 2

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.turn = torch.nn.Parameter(torch.tensor(torch.pi))

    def embed(self, faces: torch.Tensor) -> torch.Tensor:
        angle = (faces * self.std + self.mean).mean(dim=(1, 2, 3)) * self.turn
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Faces whose brightness is ten times their place among the sorted keys; all are of one person."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))
    points = np.zeros((5, 2), np.float32)
    faces = [Face(key, np.full((16, 16, 3), 10 * n, np.uint8), n, points + n) for n, key in enumerate(sorted(KEYS))]
    write_lmdb(tmp_path / 'faces.lmdb', faces, 'raw')
    return str(tmp_path / 'faces.lmdb')


def make(root: str, cls: type = FaceDataset, phase: str = 'val', **more: Any) -> Any:
    where = 'dataroot_lq' if cls is RealFaceDataset else 'dataroot_gt'
    return cls({'name': 'yale', 'type': cls.__name__, 'phase': phase, 'scale': 4, where: root, **more})


def used(dataset: Any) -> list[str]:
    return next(iter(dataset.lists().values()))


@pytest.mark.parametrize('cls', [FaceDataset, RealFaceDataset])
@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, KEYS),
        ({'keys': ['*_P00A+000E+00']}, FRONTAL),
        ({'keys': ['*E+40', FRONTAL[1], '*E+40']}, [FRONTAL[1], *(key for key in KEYS if key.endswith('E+40'))]),
        ({'keys': ['*A+000E+00'], 'exclude_keys': [FRONTAL[0]]}, FRONTAL[1:]),
        ({'exclude_keys': ['yale*']}, ['z1', 'z[1]']),
        ({'keys': ['z[0-9]']}, ['z1']),
        ({'keys': ['z[1]']}, ['z[1]']),  # what is a key means that image alone
        ({'keys': ['yaleB0?_P00A-*']}, [key for key in KEYS if 'A-' in key]),
    ],
)
def test_patterns_choose(root: str, cls: type, options: dict[str, Any], expected: list[str]) -> None:
    dataset = make(root, cls, **options)
    assert used(dataset) == sorted(expected) and len(dataset) == len(expected)
    assert dataset.sizes().shape == (len(expected), 2)


def test_case_counts(root: str) -> None:
    with pytest.raises(UserError, match='yaleb01'):
        make(root, keys=['yaleb01*'])


def test_a_file_lists_keys_and_no_patterns(root: str, tmp_path: Path) -> None:
    listed = tmp_path / 'split.txt'
    listed.write_text('z[1]\n\n  yaleB02_P00A+000E+00\r\n')
    assert used(make(root, keys=str(listed))) == ['yaleB02_P00A+000E+00', 'z[1]']
    assert set(used(make(root, exclude_keys=str(listed)))) == set(KEYS) - {'yaleB02_P00A+000E+00', 'z[1]'}
    listed.write_text('yaleB02*')
    with pytest.raises(UserError, match=r"'yaleB02\*' of '.*split.txt' in 'keys'"):
        make(root, keys=str(listed))
    listed.write_text('\n')
    with pytest.raises(UserError, match='is empty'):
        make(root, keys=str(listed))
    listed.write_bytes(b'\xff\xfe')
    with pytest.raises(UserError, match='cannot be read'):
        make(root, keys=str(listed))
    with pytest.raises(UserError, match='cannot be read'):
        make(root, keys=str(tmp_path / 'missing.txt'))


def test_number_counts_those_that_are_left(root: str) -> None:
    assert used(make(root, keys=['*A+000E+00'], max_images=2)) == FRONTAL[:2]
    drawn = [used(make(root, keys=['yaleB0[12]*'], max_images=3, subset_seed=seed)) for seed in range(8)]
    assert len({tuple(keys) for keys in drawn}) > 1
    assert all(len(keys) == 3 and all(key[:7] in ('yaleB01', 'yaleB02') for key in keys) for keys in drawn)
    with pytest.raises(UserError, match=r"wants 4 images.*has 14, of which .* leaves 3; lower 'max_images'"):
        make(root, keys=['*A+000E+00'], max_images=4)


def test_samples_are_of_the_choice(root: str) -> None:
    dataset = make(root, keys=['*A-035E+15', 'z1'], views=['identity', 'landmarks', 'canny'])
    places = [sorted(KEYS).index(key) for key in used(dataset)]
    with EvalLoader(dataset, 3, threads=1) as loader:
        batches = list(loader)
    assert [key for batch in batches for key in batch['gt_path']] == used(dataset)
    assert torch.cat([batch['gt'][:, 0, 0, 0] for batch in batches]).tolist() == [10 * place for place in places]
    assert torch.cat([batch['identity'] for batch in batches]).tolist() == places
    assert torch.cat([batch['landmarks'][:, 4, 1] for batch in batches]).tolist() == places


def test_compare_faces_are_of_the_choice(root: str, tmp_path: Path) -> None:
    faces = [Face(f'k{n}', np.full((16, 16, 3), 20 * n, np.uint8), 0) for n in range(6)]
    write_lmdb(tmp_path / 'one.lmdb', faces, 'raw')
    torch.save(KeyChoiceRecogniser().state_dict(), tmp_path / 'brightness.pth')
    compare = {'recogniser': {'type': 'KeyChoiceRecogniser', 'path': str(tmp_path / 'brightness.pth')}, 'k': 1}
    with_all = make(str(tmp_path / 'one.lmdb'), CompareFaceDataset, 'train', compare=compare)
    assert with_all[0]['compare_gt_path'] == 'k1'
    # An index of other images is another one, though k0 is in both.
    some = make(str(tmp_path / 'one.lmdb'), CompareFaceDataset, 'train', compare=compare, exclude_keys=['k1', 'k2'])
    assert some[0]['compare_gt_path'] == 'k3'
    assert set(some.lists()['compare_gt']) <= {'k0', 'k3', 'k4', 'k5'}


def test_the_source_is_not_chosen_by_them(root: str) -> None:
    dataset = make(root, SourceTargetDataset, 'train', keys=['z*'], dataroot_source=root, max_source_images=5)
    assert used(dataset) == ['z1', 'z[1]'] and dataset.lists()['source_gt'] == sorted(KEYS)[:5]


def test_stores_seen_as_one(root: str) -> None:
    dataset = FaceDataset({'name': 'two', 'phase': 'val', 'dataroot_gt': [root, root], 'keys': ['*/z1', '1/z?1]']})
    assert used(dataset) == ['0/z1', '1/z1', '1/z[1]']


@pytest.mark.parametrize('option', ['keys', 'exclude_keys'])
def test_what_fits_nothing_is_named(root: str, option: str) -> None:
    with pytest.raises(UserError, match=rf"'\*E\+99' in '{option}' of the dataset 'yale'.*e.g. 'yaleB01_P00A"):
        make(root, **{option: ['*_P00A+000E+00', '*E+99']})


def test_nothing_left(root: str) -> None:
    with pytest.raises(UserError, match='leave no image'):
        make(root, keys=['z1'], exclude_keys=['z*'])


@pytest.mark.parametrize('value', [[], 'z1', [1], ['z1', 2], 'split.csv'])
def test_what_is_neither_list_nor_file_is_refused(root: str, value: Any) -> None:
    with pytest.raises(UserError, match="'keys' must be a list of keys or patterns"):
        make(root, keys=value)
