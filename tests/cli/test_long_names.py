"""A name that the system does not take, or that a link holds already, ends every command with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from fsr_plugins.cli import main

LONG = 'z' * 300
FIXTURE = Path(__file__).parents[1] / 'fixtures/v0_1/checkpoints/cface.pth'


@pytest.mark.parametrize(
    'arguments',
    [
        ['train', '-opt', f'{LONG}.yml'],
        ['doctor', '-opt', f'{LONG}/o.yml'],
        ['options', '-opt', LONG],
        ['test', '-opt', 'o.yml', '--set', f'datasets.val.dataroot_gt={LONG}'],
        ['train', '-opt', 'o.yml', '--set', f'datasets.train.dataroot_gt={LONG}'],
        ['bench', '-opt', f'{LONG}.yml'],
        ['oneshot', '-opt', f'{LONG}.yml'],
        ['infer', 'faces', '-c', f'{LONG}.pth', '-o', 'out'],
        ['infer', LONG, '-c', str(FIXTURE), '-o', 'out'],
        ['infer', 'faces', '-c', str(FIXTURE), '-o', LONG],
        ['export', '-c', f'{LONG}.pth', '-o', 'x.onnx'],
        ['export', '-c', str(FIXTURE), '-o', f'{LONG}.onnx'],
        ['adapt', '-c', f'{LONG}.pth', '--exemplar', 'faces/0.png', '-o', 'x.pth'],
        ['adapt', '-c', str(FIXTURE), '--exemplar', f'{LONG}.png', '-o', f'{LONG}.pth'],
        ['prepare', 'folder', 'faces', LONG],
        ['prepare', 'folder', LONG, 'out'],
        ['prepare', 'portraits', 'studio/test?number=2&size=16', LONG],
        ['prepare', 'pairs', LONG, 'pairs.txt'],
        ['prepare', 'landmarks', LONG],
        ['prepare', 'lfw', LONG, 'out'],
    ],
)
def test_it_is_said(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces')
    tiny.write_options(tmp_path / 'o.yml', tiny.options())
    before = {path for path in tmp_path.rglob('*') if not path.name.startswith('.')}
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith('fsr: error: ') and 'Traceback' not in printed and len(printed) < 2000
    assert {path for path in tmp_path.rglob('*') if not path.name.startswith('.')} == before


@pytest.mark.parametrize('name', ['out', 'out.lmdb'])
@pytest.mark.parametrize('aim', ['nowhere', 'out', 'out.lmdb'])
def test_a_link_to_nothing_is_there_already(
    name: str, aim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces')
    Path(name).symlink_to(aim)
    assert main(['prepare', 'folder', 'faces', name]) == 2
    assert f"'{name}' exists already" in capsys.readouterr().err
    assert str(Path(name).readlink()) == aim
