"""A small draw of the campaign of broken option files, and what the campaign must notice."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fsr_plugins import config
from fsr_plugins.errors import RunError, UserError


@pytest.fixture(scope='module')
def campaign() -> ModuleType:
    spec = importlib.util.spec_from_file_location('campaign_of_options', Path(__file__).parent / 'campaigns/options.py')
    assert spec is not None and spec.loader is not None
    path = list(sys.path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def test_broken_option_files_end_well(campaign: ModuleType) -> None:
    before = Path.cwd()
    found = campaign.run(seed=7, number=80, seconds=20, doctor=0.3)
    assert set(found) <= {'ok', 'refused', 'doctor ok', 'doctor refused'}
    assert sum(found.values()) >= 40
    assert found['refused'] > found['ok']
    assert Path.cwd() == before


def test_it_is_the_same_case_again(campaign: ModuleType) -> None:
    texts = [campaign._text(random.Random('7 3'), campaign._tiny(random.Random('7 3'))) for _ in range(2)]
    assert texts[0] == texts[1]
    assert campaign.run(seed=7, number=1, seconds=20, only=3) == campaign.run(seed=7, number=1, seconds=20, only=3)


def test_what_is_against_the_rules_is_noticed(campaign: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise KeyError('x')

    def escapes(*arguments: object) -> None:
        (Path.cwd().parent / 'escaped').write_text('')
        raise UserError('a short message')

    def says_much(*arguments: object) -> None:
        raise RunError('x' * 5000)  # a UserError cuts its own

    for load, said in ((fails, 'KeyError in '), (escapes, 'outside its folder'), (says_much, 'long message')):
        monkeypatch.setattr(config, 'load', load)
        found = campaign.run(seed=7, number=1, seconds=20)
        assert campaign.common.broken(found) == found
        assert all('--seed 7 --only 0' in what and said in what for what in found)
