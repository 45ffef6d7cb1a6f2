"""``fsr options``: every option after inheritance and overrides, with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fsr_plugins.cli import main


@pytest.fixture
def found(experiment_file: Path) -> dict[str, dict[str, tuple[object, str]]]:
    """What the command finds in a file that inherits from another, by stage and key."""
    own = {'_base_': 'small.yml', 'train': {'total_iter': 20}, 'stages': {'second': {'scale': 2}}}
    (experiment_file.parent / 'own.yml').write_text(yaml.safe_dump(own, sort_keys=False))
    overrides = ['--set', 'train.optim={type: SGD, lr: 0.5}', '--set', 'stages.first.val.val_freq=4']
    assert main(['options', '-opt', 'own.yml', *overrides, '--json', 'found.json']) == 0
    read = json.loads(Path('found.json').read_text())
    return {stage: {each['key']: (each['value'], each['place']) for each in read[stage]} for stage in read}


def test_every_value_has_the_file_and_line_that_wrote_it(found: dict[str, dict[str, tuple[object, str]]]) -> None:
    lines = Path('small.yml').read_text().splitlines()
    value, place = found['first']['network_g.num_feat']
    file, _, line = place.partition(':')
    assert (value, file) == (8, 'small.yml') and 'num_feat: 8' in lines[int(line) - 1]
    value, place = found['first']['train.total_iter']
    assert value == 20 and place.startswith('own.yml:')
    # The stage's own value of the file inherited from goes before the common value of the file itself.
    assert found['second']['train.total_iter'][0] == 8


def test_overrides_and_defaults_say_so(found: dict[str, dict[str, tuple[object, str]]]) -> None:
    assert found['first']['val.val_freq'] == (4, '--set stages.first.val.val_freq=4')
    assert found['second']['val.val_freq'][0] == 6
    assert found['first']['train.optim.lr'] == (0.5, '--set train.optim={type: SGD, lr: 0.5}')
    assert found['first']['num_gpu'][1].startswith('small.yml:')
    assert found['first']['logger.keep_states'] == (3, 'default')


def test_one_stage_is_printed_as_lines(experiment_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['options', '-opt', 'small.yml', '--stage', 'second']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '# stage second' and '# stage first' not in lines
    assert any(line.startswith('train.total_iter: 8  # small.yml:') for line in lines)


def test_an_unknown_stage_is_refused_with_the_nearest(
    experiment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['options', '-opt', 'small.yml', '--stage', 'secnd']) == 2
    assert "no stage 'secnd' (there are: first, second). Did you mean 'second'?" in capsys.readouterr().err


@pytest.mark.parametrize('what', [['--names'], ['--copy', 'tsnet', 'here'], ['--reference'], ['--schema']])
@pytest.mark.parametrize('more', [['-opt', 'small.yml'], ['--stage', 'first'], ['--set', 'scale=2'], ['--debug']])
def test_what_is_of_a_file_is_not_passed_over(
    what: list[str], more: list[str], experiment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['options', *what, *more]) == 2
    assert f'leave out {more[0]}.' in capsys.readouterr().err
    assert not Path('here').exists()


def test_an_empty_name_is_no_folder_to_copy_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['options', '--copy', 'tsnet', '']) == 2
    assert 'argument --copy: the path is empty' in capsys.readouterr().err


def test_a_copy_that_cannot_be_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('notes').write_text('mine')
    assert main(['options', '--copy', 'tsnet', 'notes']) == 2
    assert "'notes' cannot be written" in capsys.readouterr().err
    assert Path('notes').read_text() == 'mine'
