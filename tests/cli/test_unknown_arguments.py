"""Arguments that a command does not know: it names itself, its usage, and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsr_plugins.cli import main


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (
            ['train', '-opt', 'a.yml', '--set', 'a=1', 'b=2'],
            'unknown arguments: b=2 (--set takes one KEY=VALUE;',
        ),
        (['train', '-opt', 'a.yml', '--sets', 'a=1'], 'unknown arguments: --sets a=1\n'),
        (['train', '-opt', 'a.yml', '--force_yml', 'scale=2'], 'give --set train.total_iter=100)'),
        (['list', 'arch'], "Did you mean 'archs'?\n"),
        (['train', '-opt', 'a.yml', '--launcher', 'pytroch'], "Did you mean 'pytorch'?\n"),
        (['list', 'archs', 'more'], 'unknown arguments: more\n'),
    ],
)
def test_the_command_says_so_itself(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert f'fsr {arguments[0]}: error: ' in printed and words in printed
    assert printed.startswith(f'usage: fsr {arguments[0]} ')


def test_the_command_below_says_so_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['prepare', 'pairs', 'a', 'b', '--fold', '3']) == 2
    printed = capsys.readouterr().err
    assert printed.startswith('usage: fsr prepare pairs ') and '--folds' in printed
    assert printed.endswith('fsr prepare pairs: error: unknown arguments: --fold 3\n')


def test_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['infr', 'a.png']) == 2
    assert capsys.readouterr().err.endswith(" Did you mean 'infer'?\n")


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--json', 'a.json', 'list'], 'fsr list --json …,'),
        (['--json=a', 'lst'], 'fsr COMMAND --json=a …,'),
        (['-opt', 'tsnet', 'train'], 'fsr train -opt …,'),
        (['--hlep'], 'fsr COMMAND --hlep …, or fsr --help'),
    ],
)
def test_options_before_the_command(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert f'the command comes first, its options behind it: {words}' in capsys.readouterr().err


def test_a_folder_hides_no_bundled_option_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tsnet').mkdir()
    assert main(['options', '-opt', 'tsnet', '--stage', 'joint']) == 0
    assert 'options/tsnet.yml' in capsys.readouterr().out


@pytest.mark.parametrize('given', ['tsnett', 'options/tsnett.yml'])
def test_the_nearest_option_file(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['train', '-opt', given]) == 2
    assert capsys.readouterr().err == f"fsr: error: There is no option file '{given}'. Did you mean 'tsnet'?\n"
    assert main(['train', '-opt', 'mine.yml']) == 2
    assert 'Did you mean' not in capsys.readouterr().err
