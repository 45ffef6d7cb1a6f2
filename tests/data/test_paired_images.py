"""Pairs, lists of names and luma as BasicSR's option files ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from fsr_plugins.data import EvalLoader, PairedImages, SingleImages
from fsr_plugins.errors import UserError
from fsr_plugins.models import SupervisedModel

NAMES = ['0001', '0002', '0003']


def write(folder: Path, names: list[str], height: int, width: int) -> Path:
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(height)
    for name in names:
        cv2.imwrite(str(folder / f'{name}.png'), numbers.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """HR beyond LR times the scale by 2 rows and 1 column."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    gt = write(tmp_path / 'gt', NAMES, 26, 33)
    lq = write(tmp_path / 'lq', [f'{name}x4' for name in NAMES], 6, 8)
    return {'dataroot_gt': str(gt), 'dataroot_lq': str(lq), 'filename_tmpl': '{}x4'}


def make(cls: Any, **more: Any) -> Any:
    opt = {'name': 'set', 'type': cls.__name__, 'phase': 'val', 'scale': 4, 'io_backend': {'type': 'disk'}, **more}
    return cls(opt)


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def test_validation_gives_what_basicsr_gives(folders: dict[str, str]) -> None:
    ours, theirs = make(PairedImages, **folders), make(PairedImageDataset, **folders)
    ours.check(4)
    assert len(ours) == len(theirs) == 3
    by_key = {Path(theirs[number]['gt_path']).stem: theirs[number] for number in range(3)}
    for number in range(3):
        sample = ours[number]
        expected = by_key[sample['gt_path']]
        assert sample['gt'].shape == (24, 32, 3)
        for key in ('gt', 'lq'):
            assert torch.equal(as_tensor(sample[key]), expected[key])
    batches = list(EvalLoader(ours, 2))
    assert [len(batch['gt']) for batch in batches] == [2, 1]


def test_a_list_chooses(folders: dict[str, str], tmp_path: Path) -> None:
    listed = tmp_path / 'meta.txt'
    listed.write_text('0003.png (26,33,3)\n0001.png (26,33,3)\n', encoding='utf-8')
    Path(folders['dataroot_lq'], '0002x4.png').unlink()
    ours = make(PairedImages, **folders, meta_info_file=str(listed))
    theirs = make(PairedImageDataset, **folders, meta_info_file=str(listed))
    assert ours.lists() == {'gt': ['0001', '0003'], 'lq': ['0001x4', '0003x4']}
    assert sorted(Path(theirs[number]['gt_path']).stem for number in range(len(theirs))) == ours.lists()['gt']
    with pytest.raises(UserError, match="'0002x4'"):
        make(PairedImages, **folders)


@pytest.mark.parametrize(
    ('text', 'message'), [('', 'is empty'), ('0009.png (1,1,3)\n', "names '0009.png'"), (None, 'cannot be read')]
)
def test_a_wrong_list_is_named(folders: dict[str, str], tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / 'meta.txt').write_text(text, encoding='utf-8')
    with pytest.raises(UserError, match=message):
        make(PairedImages, **folders, meta_info_file=str(tmp_path / 'meta.txt'))


def test_a_listed_image_without_lr_is_named(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / 'meta.txt').write_text('0002.png (26,33,3)\n', encoding='utf-8')
    Path(folders['dataroot_lq'], '0002x4.png').unlink()
    with pytest.raises(UserError, match="no LR image '0002x4'"):
        make(PairedImages, **folders, meta_info_file=str(tmp_path / 'meta.txt'))


def test_hr_smaller_than_lr_times_the_scale_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(UserError, match='is smaller than its LR'):
        make(PairedImages, **folders, scale=5).check(5)


def test_training_crops_pairs_alike(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:12, :12]
    small = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    for name, image in (('lq', small), ('gt', small.repeat(2, 0).repeat(2, 1))):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / 'a.png'), image[..., ::-1])
    roots = {'dataroot_gt': str(tmp_path / 'gt'), 'dataroot_lq': str(tmp_path / 'lq')}
    dataset = make(PairedImages, **roots, phase='train', scale=2, gt_size=8, use_hflip=True, use_rot=True)
    dataset.check(2)
    for number in range(16):
        sample = dataset[number]
        assert np.array_equal(sample['lq'].repeat(2, 0).repeat(2, 1), sample['gt'])


def test_an_lmdb_of_basicsrs(tmp_path: Path, folders: dict[str, str]) -> None:
    for name in ('gt', 'lq'):
        files = sorted(path.name for path in Path(folders[f'dataroot_{name}']).iterdir())
        make_lmdb_from_imgs(folders[f'dataroot_{name}'], str(tmp_path / f'{name}.lmdb'), files, NAMES, map_size=2**20)
    roots = {f'dataroot_{name}': str(tmp_path / f'{name}.lmdb') for name in ('gt', 'lq')}
    ours = make(PairedImages, **roots, io_backend={'type': 'lmdb'})
    (tmp_path / 'meta.txt').write_text('0002.png (26,33,3)\n', encoding='utf-8')
    chosen = make(PairedImages, **roots, io_backend={'type': 'lmdb'}, meta_info_file=str(tmp_path / 'meta.txt'))
    assert ours.lists()['gt'] == NAMES and chosen.lists()['gt'] == ['0002']
    plain = make(PairedImages, **folders)
    assert all(np.array_equal(ours[1][key], plain[1][key]) for key in ('gt', 'lq'))


def test_lr_alone(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / 'meta.txt').write_text('0002x4.png\n', encoding='utf-8')
    root = folders['dataroot_lq']
    ours, theirs = make(SingleImages, dataroot_lq=root), make(SingleImageDataset, dataroot_lq=root)
    assert len(ours) == len(theirs) == 3 and not ours.has_gt
    for number in range(3):
        assert torch.equal(as_tensor(ours[number]['lq']), theirs[number]['lq'])
    listed = make(SingleImages, dataroot_lq=root, meta_info_file=str(tmp_path / 'meta.txt'))
    assert listed.lists() == {'lq': ['0002x4']}


def test_luma_is_made_on_the_device_as_basicsr_makes_it(folders: dict[str, str]) -> None:
    ours, theirs = make(PairedImages, **folders, color='y'), make(PairedImageDataset, **folders, color='y')
    network = {**tiny.EDSR, 'num_in_ch': 1, 'num_out_ch': 1}
    sets = {phase: {'type': 'PairedImages', 'name': phase, 'color': 'y'} for phase in ('train', 'val')}
    train = {'pixel_opt': {'type': 'L1Loss'}, 'optim_g': {'type': 'Adam'}}
    model = SupervisedModel(tiny.stage(train, network_g=network, datasets=sets))
    model.feed_data(next(iter(EvalLoader(ours, 3))))
    by_key = {Path(theirs[number]['gt_path']).stem: theirs[number] for number in range(3)}
    assert model.gt is not None and model.lq is not None
    for row, key in enumerate(model.files):
        torch.testing.assert_close(model.gt[row], by_key[key]['gt'], rtol=0, atol=1e-6)
        torch.testing.assert_close(model.lq[row], by_key[key]['lq'], rtol=0, atol=1e-6)
    mixed = {**sets, 'val': {'type': 'PairedImages', 'name': 'val'}}
    model = SupervisedModel(tiny.stage(train, network_g=network, datasets=mixed))
    with pytest.raises(UserError, match="'datasets.val' not"):
        model.feed_data(next(iter(EvalLoader(ours, 3))))


def test_maps_of_hr_that_is_cut_are_cut_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    gt, lq = write(tmp_path / 'gt/images', ['0001'], 66, 67), write(tmp_path / 'lq', ['0001'], 16, 16)
    labels = np.random.default_rng(0).integers(0, 19, (66, 67), dtype=np.uint8)
    (tmp_path / 'gt/parsing').mkdir()
    cv2.imwrite(str(tmp_path / 'gt/parsing/0001.png'), labels)
    pairs = make(PairedImages, dataroot_gt=str(gt.parent), dataroot_lq=str(lq), views=['parsing'])
    pairs.check(4)
    assert np.array_equal(pairs[0]['parsing'], labels[:64, :64])


def test_hr_that_is_cut_must_be_reduced_as_canny_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    gt, lq = write(tmp_path / 'gt', ['0001'], 70, 70), write(tmp_path / 'lq', ['0001'], 17, 17)
    pairs = make(PairedImages, scale=2, dataroot_gt=str(gt), dataroot_lq=str(lq), views=['canny'])
    with pytest.raises(UserError, match='34x34 .*not a multiple of 4'):
        pairs.check(2)
