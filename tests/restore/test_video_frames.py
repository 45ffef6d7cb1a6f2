"""Folders of frames by ``fsr infer --video``: no frame is missing in the end, whatever stopped a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, written
from test_video_clip import found, infer, stopped_at
from tiny_clips import RedSquares, frame

from fsr_plugins.faces import Detection
from fsr_plugins.images import read_image
from fsr_plugins.restore import restorers


def test_a_folder_of_frames_is_a_clip(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder / 'shot', {f'{number:04d}.png': png(frame(number, 2)) for number in range(20)})
    assert infer('shot', '--video', out='whole') == 0
    about = found()['clips']['shot']
    assert (about['frames'], about['tracks'], about['restored']) == (20, 2, 40)
    assert sorted(os.listdir('whole')) == sorted(os.listdir('shot'))
    assert read_image('whole/0003.png').shape == (480, 640, 3)
    stopped_at(monkeypatch, 'made', 1, 'shot', '--video')
    assert infer('shot', '--video') == 0
    assert {name: Path('out', name).read_bytes() for name in os.listdir('out')} == {
        name: Path('whole', name).read_bytes() for name in os.listdir('whole')
    }
    capsys.readouterr()
    assert infer('shot', '--video') == 2 and 'exists already' in capsys.readouterr().err
    assert infer('shot', '--video', '--skip-existing') == 0 and found()['skipped'] == 1
    assert infer('shot/0000.png', '--video', out='other') == 2
    assert 'a folder with the frames of one' in capsys.readouterr().err
    written(folder / 'shot', {'0007.png': png(picture(0, 50, 50))})
    assert infer('shot', '--video', out='other') == 2
    assert "'shot/0007.png' is 50x50, and the first frame 160x120" in capsys.readouterr().err


@pytest.mark.parametrize(('naming', 'name'), [(('--ext', 'jpg'), '0000.jpg'), (('--suffix', '_x4'), '0000_x4.png')])
def test_frames_that_are_named_otherwise_are_begun_otherwise(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    naming: tuple[str, str],
    name: str,
) -> None:
    written(folder / 'shot', {f'{number:04d}.png': png(frame(number)) for number in range(12)})
    stopped_at(monkeypatch, 'made', 1, 'shot', '--video')
    before = sorted(os.listdir('out'))
    capsys.readouterr()
    assert infer('shot', '--video', *naming) == 2
    error = capsys.readouterr().err
    assert "begun otherwise: results was ['0000.png', " in error and f"and is ['{name}', " in error
    assert sorted(os.listdir('out')) == before
    assert infer('shot', '--video', *naming, '--overwrite') == 0
    assert {f'{number:04d}{name[4:]}' for number in range(12)} <= set(os.listdir('out'))
    assert not Path('out/shot.parts').exists()


@pytest.mark.parametrize('options', [(), ('--overwrite',)])
@pytest.mark.parametrize(('gone', 'stays'), [(range(20), 0), ([9], 8), ([15, 17], 8), ([18], 16)])
def test_frames_that_are_gone_are_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], gone: Sequence[int], stays: int
) -> None:
    """The same command goes on, with ``--overwrite`` too: stretches whose frames are all there stay."""
    written(folder / 'shot', {f'{number:04d}.png': png(frame(number)) for number in range(20)})
    assert infer('shot', '--video', out='whole') == 0
    stopped_at(monkeypatch, 'made', 2, 'shot', '--video', *options)
    for number in gone:
        Path(f'out/{number:04d}.png').unlink()
    before = {file.name: file.stat().st_mtime_ns for file in Path('out').glob('*.png')}
    assert infer('shot', '--video', *options) == 0
    assert {name: Path('out', name).read_bytes() for name in os.listdir('out')} == {
        name: Path('whole', name).read_bytes() for name in os.listdir('whole')
    }
    same = [name for name, when in before.items() if Path('out', name).stat().st_mtime_ns == when]
    assert sorted(same) == [f'{number:04d}.png' for number in range(stays)]


class Unsure(RedSquares):
    """Sees dark squares in whole frames only."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        near = [image.shape[:2] == (192, 192) for image in images]
        return super().detect(
            [
                np.where(image[..., :1] < 200, 0, image) if one else image
                for image, one in zip(images, near, strict=True)
            ]
        )


def test_a_face_that_is_missed_once_is_one_before_and_after_a_stop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: Unsure())
    frames = [frame(number) for number in range(20)]
    frames[8][frames[8][..., 1] < 40] = (175, 20, 30)
    written(folder / 'shot', {f'{number:04d}.png': png(image) for number, image in enumerate(frames)})
    assert infer('shot', '--video', out='whole') == 0
    about = found()['clips']['shot']
    assert (about['tracks'], about['faces'], about['restored']) == (1, 20, 20)
    stopped_at(monkeypatch, 'looked', 1, 'shot', '--video')
    assert infer('shot', '--video') == 0
    assert found()['clips']['shot']['tracks'] == 1
    for name in os.listdir('whole'):
        assert Path('out', name).read_bytes() == Path('whole', name).read_bytes()
