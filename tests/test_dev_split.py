"""Everything is chosen on dev people: no file that trains on LFW looks at test people, and suites measure them once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from option_files import OPTIONS, stages

from fsr_plugins.bench import suite as suites
from fsr_plugins.config.yamlfile import read

LFW = 'datasets/lfw/'
#: What the names of stores begin with.
FIT, DEV, TEST = 'fit', 'dev', 'test'


def roots(value: Any) -> Iterator[str]:
    """All stores and files of LFW that options name."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from roots(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from roots(inner)
    elif isinstance(value, str) and value.startswith(LFW):
        yield value


def part(root: str) -> str:
    """``fit``, ``dev`` or ``test``: what a store's name begins with."""
    name = PurePosixPath(root).name
    found = [each for each in (FIT, DEV, TEST) if name.startswith(each)]
    assert found, f'{root} does not say whose faces it holds'
    return found[0]


def with_lfw(*folders: str) -> list[str]:
    files = [path for folder in folders for path in OPTIONS.glob(f'{folder}/*.yml')]
    return sorted(str(path.relative_to(OPTIONS)) for path in files if any(roots(read(path).values)))


TRAINING = with_lfw('.', 'lfw', 'baselines', 'zoo')
SUITES = with_lfw('bench')


def test_the_files_are_found() -> None:
    assert {file for file in TRAINING if file.startswith('lfw/')} == {
        f'lfw/{path.name}' for path in (OPTIONS / 'lfw').glob('*.yml')
    }
    assert {'baselines/ridge_lfw.yml', 'zoo/face_x8.yml'} <= set(TRAINING)
    assert {'bench/lfw_x8.yml', 'bench/lfw_x4.yml', 'bench/zoo_x8.yml'} <= set(SUITES)


@pytest.mark.parametrize('file', TRAINING)
def test_a_file_learns_from_fit_people_and_validates_on_dev_people(file: str) -> None:
    validated = 0
    for stage, opt in stages(file).items():
        for phase, block in opt['datasets'].items():
            wanted = FIT if phase == 'train' else DEV
            for root in roots(block):
                assert part(root) == wanted, f'{stage}, {phase}: {root}'
                validated += phase != 'train'
        assert not [root for root in roots(opt.get('val')) if part(root) != DEV], stage
    assert validated


@pytest.mark.parametrize('file', SUITES)
def test_a_suite_trains_on_fit_people_and_measures_test_people_once(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(OPTIONS.parent)
    suite = suites.load(OPTIONS / file)
    assert suite.train is not None and {part(root) for root in roots(suite.train.dataroot_gt)} == {FIT}
    for name, lineage in suite.lineages.items():
        for stage in lineage.experiment.stages.values():
            for phase, data in stage.opt['datasets'].items():
                found = {part(root) for root in roots(data)}
                assert found <= ({FIT} if phase == 'train' else {DEV}), f'{name}, {stage.name}, {phase}'
    assert not {DEV, FIT} & {part(root) for root in roots(suite.test)}
