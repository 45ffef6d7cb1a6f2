"""Old names of options: they go on working, and are told of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from tiny_suite import fill
from torch.utils.data import Dataset

from fsr_plugins import config
from fsr_plugins.bench import suite
from fsr_plugins.data import FaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DATASET_REGISTRY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces')
    return tmp_path


def train_block(folder: Path, *overrides: str, **train: Any) -> dict[str, Any]:
    values = tiny.options()
    values['datasets']['train'] |= train
    file = tiny.write_options(folder / 'o.yml', values)
    return next(iter(config.load(file, overrides).stages.values())).opt['datasets']['train']


def test_an_old_name_becomes_the_new_one_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger('fsr_plugins'), 'propagate', True)
    with caplog.at_level(logging.WARNING, logger='fsr_plugins'):
        block = train_block(folder, number=3, number_seed=1, without_keys=['0'])
    assert (block['max_images'], block['subset_seed'], block['exclude_keys']) == (3, 1, ['0'])
    assert not block.keys() & {'number', 'number_seed', 'without_keys'}
    assert "key 'datasets.train.number' is called 'max_images' now" in caplog.text
    assert 'o.yml:' in caplog.text and '0.3' in caplog.text


def test_the_later_of_base_and_file_wins_whatever_each_calls_it(folder: Path) -> None:
    for base, own in (({'number': 2}, {'max_images': 3}), ({'max_images': 2}, {'number': 3})):
        values = tiny.options()
        values['datasets']['train'] |= base
        tiny.write_options(folder / 'base.yml', values)
        file = folder / 'o.yml'
        file.write_text(yaml.safe_dump({'_base_': 'base.yml', 'datasets': {'train': own}}))
        assert config.load(file).stages['train'].opt['datasets']['train']['max_images'] == 3


def test_both_names_in_one_block_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"o\.yml:\d+: key 'datasets\.train\.number' is the old name of 'max_images'"):
        train_block(folder, number=3, max_images=4)


@pytest.mark.parametrize('override', ['datasets.train.number=4', 'datasets={train: {number: 4}}'])
def test_an_override_may_use_an_old_name(folder: Path, override: str) -> None:
    file = tiny.write_options(folder / 'o.yml', tiny.options())
    documents = config.experiment.command_line.apply(config.experiment.read(file), [override])
    assert documents.values['datasets']['train']['max_images'] == 4


def test_a_suite_may_use_old_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder)
    text = (folder / 'suite.yml').read_text()
    values = yaml.safe_load(text)
    values['test']['number'] = 2
    (folder / 'suite.yml').write_text(yaml.safe_dump(values, sort_keys=False))
    assert suite.load(folder / 'suite.yml').test['max_images'] == 2


class CountingDataset(Dataset):
    """A dataset from outside with an option of its own that is called as ours once was."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.number = opt['number']


@pytest.fixture
def outside() -> Iterator[None]:
    DATASET_REGISTRY.register(CountingDataset)
    yield
    del DATASET_REGISTRY._obj_map['CountingDataset']


def test_an_option_of_a_dataset_from_outside_keeps_its_name(folder: Path, outside: None) -> None:
    values = tiny.options()
    values['datasets']['train'] = {'type': 'CountingDataset', 'number': 5, 'batch_size_per_gpu': 2}
    file = tiny.write_options(folder / 'o.yml', values)
    assert config.load(file).stages['train'].opt['datasets']['train']['number'] == 5


def test_a_block_from_python_may_use_old_names(folder: Path) -> None:
    block = {'name': 'faces', 'phase': 'val', 'dataroot_gt': str(folder / 'faces'), 'number': 2}
    with pytest.warns(FutureWarning, match="'number' of a dataset is called 'max_images' now"):
        assert len(FaceDataset(block)) == 2
