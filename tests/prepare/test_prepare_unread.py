"""Options of a preparer that have no effect beside the others are refused, and named."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import tiny

from fsr_plugins.cli import main


@pytest.mark.parametrize(
    ('command', 'option', 'needed'),
    [
        ('folder {src} {dst} --min-size 40', '--min-size', '--align'),
        ('folder {src} {dst} --crop none --faces largest', '--faces', '--align'),
        ('folder {src} {dst} --detector mtcnn', '--detector', '--align'),
        ('folder {src} {dst} --weights w.pth', '--weights', '--align'),
        ('folder {src} {dst} --device cpu', '--device', '--align'),
        ('folder {src} {dst} --align ffhq --margin 0.1', '--margin', '--align box'),
        ('celeba {src} {dst} --box annotated', '--box', '--crop pkdn'),
        ('celeba {src} {dst} --crop centre128 --margin 0.1', '--margin', '--crop pkdn'),
        ('helen {src} {dst} --crop centre --margin 0.1', '--margin', '--crop points'),
        ('icartoonface {src} {dst} --margin 0', '--margin', '--crop box'),
        ('icartoonface {src} {dst} --split rectest --held-out 0.1', '--held-out', '--split train and test'),
        ('icartoonface {src} {dst} --split rectest --seed 0', '--seed', '--split train and test'),
        ('multipie {src} {dst} --margin 0', '--margin', '--boxes'),
        ('widerface {src} {dst} --seed 1', '--seed', '--number'),
    ],
)
def test_they_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, option: str, needed: str
) -> None:
    (tmp_path / 'src').mkdir()
    given = shlex.split(command.format(src=tmp_path / 'src', dst=tmp_path / 'dst'))
    assert main(['prepare', *given]) == 2
    assert f'{option} goes with {needed}, and has no effect here' in capsys.readouterr().err
    assert not (tmp_path / 'dst').exists()


@pytest.mark.parametrize(
    ('command', 'said'),
    [
        ('portraits studio/test?number=2&size=32 {dst} --encoding raw', '--encoding goes with an LMDB'),
        ('camera {src} {dst} --scale 4 --degradation Compose --argument stages=[]', "--scale has no effect: 'Compose'"),
        ('camera {src} {dst} --scale 4 --argument scale=2', 'say the same'),
        ('camera {src} {dst} --scale 0', 'scale'),
    ],
)
def test_an_option_that_another_makes_void_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    tiny.write_faces(tmp_path / 'src', 1, 16)
    given = shlex.split(command.format(src=tmp_path / 'src', dst=tmp_path / 'dst'))
    assert main(['prepare', *given]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / 'dst').exists()


@pytest.mark.parametrize('device', ['abacus', 'meta'])
def test_a_device_that_is_not_here_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    assert main(['prepare', 'portraits', 'studio/test?number=2&size=32', str(tmp_path / 'set')]) == 0
    for command in (
        ['landmarks', str(tmp_path / 'set'), '--engine', 'mtcnn'],
        ['parsing', str(tmp_path / 'set')],
        ['folder', str(tmp_path / 'set/images'), str(tmp_path / 'dst'), '--align', 'box'],
    ):
        assert main(['prepare', *command, '--device', device]) == 2
        assert f'--device {device}: not here' in capsys.readouterr().err
