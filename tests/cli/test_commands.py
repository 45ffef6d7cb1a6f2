from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny

import fsr_plugins
from fsr_plugins import cli, pipeline
from fsr_plugins.cli import COMMANDS, main
from fsr_plugins.cli.streams import Ended
from fsr_plugins.errors import Interrupted, RunError, UserError

PACKAGE = Path(fsr_plugins.__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a tiny experiment in ``o.yml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces')
    tiny.write_options(tmp_path / 'o.yml', tiny.options())
    return tmp_path


def found(folder: Path) -> Any:
    return json.loads((folder / 'found.json').read_text())


# ---- help and wrong arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('command', COMMANDS)
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, '--help']) == 0
    assert f'Example: fsr {command}' in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--help']) == 0
    printed = capsys.readouterr().out
    assert all(f'\n    {command} ' in printed for command in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fsr_plugins.cli import main; status = main(['--help']) + main(['train', '--help']); "
        "sys.exit(status or any(name in sys.modules for name in ('torch', 'basicsr', 'cv2', 'mmengine')))"
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['trian'],
        ['train'],
        ['train', '-opt'],
        ['train', '-opt', 'o.yml', '--lancher', 'none'],
        ['list', 'nets'],
        ['prepare'],
    ],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert 'usage: fsr' in capsys.readouterr().err


def test_train_script_works_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, str(PACKAGE / 'train.py'), '-opt', 'nothing.yml']
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == 'fsr: error: The option file nothing.yml cannot be read: No such file or directory.\n'


def test_test_script_is_fsr_test(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(PACKAGE / 'test.py'), '--help'], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith('usage: fsr test')


# ---- exit status -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('error', 'status', 'printed'),
    [
        (UserError('wrong'), 2, 'fsr: error: wrong\n'),
        (RunError('failed'), 1, 'fsr: error: failed\n'),
        (Interrupted('stopped', 15), 143, 'fsr: error: stopped\n'),
        (KeyboardInterrupt(), 130, 'fsr: error: ended at once by Ctrl-C, without saving: '),
        (Ended(15), 143, 'fsr: ended by SIGTERM.\n'),
    ],
)
def test_status(
    error: BaseException,
    status: int,
    printed: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(experiment: object, **how: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, 'run', run)
    handler = signal.getsignal(signal.SIGINT)
    assert main(['train', '-opt', 'o.yml', '--json', 'found.json']) == status
    signal.signal(signal.SIGINT, handler)
    said = capsys.readouterr().err
    assert said.startswith(printed) and len(said.splitlines()) == 1
    if isinstance(error, Exception):
        assert found(folder) == {'error': str(error)}


@pytest.mark.parametrize(
    ('command', 'end'),
    [
        ('train', 'is there. Give the same command again to go on from that.\n'),
        ('infer', 'is there. With --skip-existing the same command leaves out what is done, and goes on with what was '
                  'begun of clips.\n'),
        ('export', 'only what was saved before is there.\n'),
        ('measure', 'only what was saved before is there.\n'),
    ],
)  # fmt: skip
def test_ctrl_c_promises_what_the_command_does(
    command: str, end: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, '_run', run)
    handler = signal.getsignal(signal.SIGINT)
    assert main([command, '--json', 'found.json']) == 130
    signal.signal(signal.SIGINT, handler)
    assert capsys.readouterr().err.endswith(end)


def test_a_defect_keeps_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(experiment: object, **how: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, 'run', run)
    with pytest.raises(ZeroDivisionError):
        main(['train', '-opt', 'o.yml'])


def test_json_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['list', 'metrics', '--json', 'no/folder.json']) == 2
    assert 'no/folder.json: cannot be written' in capsys.readouterr().err


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    code = (
        'import sys; from fsr_plugins import cli; from fsr_plugins.cli import list_command\n'
        "list_command.run = lambda arguments: [print('x' * 100) for _ in range(10000)]\n"
        "sys.exit(cli.main(['list', 'archs']))"
    )
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b''
    process.stderr.close()


# ---- the commands ----------------------------------------------------------------------------------------------------


def test_train_then_test(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ['--set', 'train.total_iter=2', '--set', 'logger.print_freq=2']
    command = ['-opt', 'o.yml', *overrides, '--json', 'found.json']
    assert main(['test', *command]) == 2  # not trained yet
    assert main(['train', *command, '--auto_resume', '--launcher', 'none', '--local_rank', '0']) == 0
    assert 'bicubic' in capsys.readouterr().out
    summary = found(folder)
    assert summary == json.loads((folder / 'experiments/tiny/summary.json').read_text())
    assert summary['stages']['train']['iterations'] == 2
    capsys.readouterr()
    assert main(['test', '-opt', 'o.yml']) == 2
    assert "Stage 'train' was trained for 2 of 4 iterations" in capsys.readouterr().err
    assert main(['test', *command]) == 0
    measured = found(folder)['validation']['held']
    for net, figures in summary['validation']['held'].items():
        assert measured[net] == pytest.approx(figures, abs=1e-4)
    assert main(['test', *command, '--set', 'scale=2', '--set', 'degradation.scale=2']) == 2
    assert "--set scale=2: key 'scale' is 2, but 'train' was trained with 4" in capsys.readouterr().err


def test_doctor(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '-opt', 'o.yml', '--json', 'found.json']) == 0
    said = capsys.readouterr().out
    assert 'dry step' in said and 'when it began' not in said  # nothing has begun
    assert found(folder)['ok'] is True
    assert {
        'level': 'ok',
        'stage': 'train',
        'check': 'dry step',
        'message': 'one iteration trains, one batch validates',
    } in found(folder)['findings']
    assert not (folder / 'experiments').exists()


def test_doctor_leaves_nothing_of_faces_that_are_not_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob('*'))
    changes = [f'datasets.{part}.dataroot_gt=portraits://studio/{split}?number=3&size=16'
               for part, split in (('train', 'train'), ('val', 'test'))]  # fmt: skip
    command = ['doctor', '-opt', 'o.yml', *(word for change in changes for word in ('--set', change))]
    assert main(command) == 0
    assert 'studio_train_n3_s16_seed0' in capsys.readouterr().out
    after = [path for path in sorted(folder.rglob('*')) if 'cache' not in path.parts]
    assert after == [path for path in before if 'cache' not in path.parts]
    assert main(['train', *command[1:]]) == 0
    drawn = sorted((folder / 'datasets/portraits').glob('*.lmdb'))
    assert len(drawn) == 2
    capsys.readouterr()
    assert main(command) == 0
    # What is there is looked at in its place.
    assert 'stood for all' not in capsys.readouterr().out


def test_doctor_says_nothing_of_a_validation_that_is_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '-opt', 'o.yml', '--set', 'val=null']) == 0
    said = capsys.readouterr().out
    assert 'one iteration trains\n' in said and 'validates' not in said


def test_doctor_sets_the_longest_name_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = '201_EDSR_Mx2_f64b16_DIV2K_300k_B16G1_wandb'
    assert main(['doctor', '-opt', 'o.yml', '--set', f'name={name}']) == 0
    assert f'{name} disk ' in capsys.readouterr().out


def test_doctor_finds_a_network_of_another_scale(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '-opt', 'o.yml', '--set', 'network_g.upscale=2', '--json', 'found.json']) == 2
    assert "key 'network_g': net_g makes 2 times larger images" in capsys.readouterr().out
    assert [finding['check'] for finding in found(folder)['findings'] if finding['level'] == 'error'] == ['dry step']
    assert not (folder / 'experiments').exists()


@pytest.mark.parametrize(
    ('kind', 'name', 'origin', 'signature'),
    [
        ('archs', 'EDSR', 'basicsr', 'num_in_ch, num_out_ch, num_feat=64'),
        ('losses', 'L1Loss', 'basicsr', 'loss_weight=1.0'),
        ('models', 'SupervisedModel', 'fsr_plugins', 'opt'),
        ('datasets', 'FaceDataset', 'fsr_plugins', 'opt'),
        ('metrics', 'PSNR', 'fsr_plugins', 'crop_border: int = 0'),
        ('degradations', 'BicubicDown', 'fsr_plugins', 'scale: int'),
    ],
)
def test_list(
    kind: str, name: str, origin: str, signature: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['list', kind, '--json', 'found.json']) == 0
    rows = {row['name']: row for row in found(folder)[kind]}
    assert rows[name]['origin'] == origin
    assert signature in rows[name]['signature']
    assert rows[name]['summary']
    for row in rows.values():  # a sentence, not a line of Sphinx's that stops in the middle
        assert row['origin'] != 'fsr_plugins' or not re.search(r'`|:[a-z]+:`|[,(]$', row['summary']), row
    assert [line.split('\t')[0] for line in capsys.readouterr().out.splitlines()] == list(rows)


def test_prepare(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ['prepare', 'portraits', 'studio/train?number=2&size=32', 'drawn', '--json', 'found.json']
    assert main(command) == 0
    assert found(folder)['images'] == len(list((folder / 'drawn' / 'images').glob('*.png'))) == 2
    assert main(command) == 2
    assert "'drawn' exists already" in capsys.readouterr().err
    assert 'exists already' in found(folder)['error']


def test_no_file_is_lost_to_the_results_of_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('photo.png').write_bytes(b'\x89PNG')
    Path('o.json').write_text('{"name": "x"}')
    Path('old.json').write_text('{"figures": 1}')
    for command, kept in (
        (['list', 'metrics', '--json', 'photo.png'], 'photo.png'),
        (['doctor', '-opt', 'o.json', '--json', './o.json'], 'o.json'),
        (['infer', 'photo.png', '-o', 'out', '--json', 'photo.png'], 'photo.png'),
    ):
        before = Path(kept).read_bytes()
        assert main(command) == 2
        assert f'--json {kept}' in capsys.readouterr().err.replace('./', '')
        assert Path(kept).read_bytes() == before
    for command in (
        ['measure', '.', '--csv', 'new', '--json', './new'],
        ['export', '-c', 'face_x8', '-o', 'new', '--json', 'new'],
        ['infer', 'photo.png', '-o', 'new', '--json', 'new'],
    ):
        assert main(command) == 2
        assert '--json new: this file is given to the command as well' in capsys.readouterr().err
    assert main(['list', 'metrics', '--json', 'metrics']) == 0  # no file is called so
    assert main(['list', 'metrics', '--json', 'old.json']) == 0
    assert 'figures' not in json.loads(Path('old.json').read_text())
