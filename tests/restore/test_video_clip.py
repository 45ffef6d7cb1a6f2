"""Clips by ``fsr infer``: frames, times, sound and turn are kept, and a run that was stopped goes on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, written
from tiny_clips import frame, frames_of, place, sound_of, times_of, write_clip

from fsr_plugins.cli import main
from fsr_plugins.engine.lock import only_writer
from fsr_plugins.restore.video import restoring
from fsr_plugins.restore.video.flicker import Flicker, figures
from fsr_plugins.restore.video.parts import Parts


def infer(*arguments: str, out: str = 'out') -> int:
    return main(['infer', '-c', 'net.pth', '-o', out, '--most', '3', '--json', 'found.json', *arguments])


def stopped_at(monkeypatch: pytest.MonkeyPatch, kind: str, number: int, *arguments: str) -> None:
    """Begins a run that is stopped before a part is written."""
    write = Parts.write

    def stopping(self: Parts, this: str, place: int, arrays: dict[str, np.ndarray]) -> None:
        if (this, place) == (kind, number):
            raise KeyboardInterrupt
        write(self, this, place, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, 'write', stopping)
        assert infer(*arguments) == 130


def found() -> dict[str, dict[str, dict[str, object]]]:
    read: dict[str, dict[str, dict[str, object]]] = json.loads(Path('found.json').read_text())
    return read


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.mov'])
def test_frames_times_and_sound_are_kept(folder: Path, suffix: str) -> None:
    """Of a clip whose frames are not evenly spaced."""
    times = [0, 40, 80, 130, 170, 171, 300, 340, 400, 420, 500, 533, 600, 640, 700, 701, 790, 800, 860, 900]
    clip = write_clip(folder / f'a{suffix}', [frame(number, 2) for number in range(20)], times)
    assert infer(clip.name) == 0
    result = folder / 'out' / clip.name
    assert times_of(result) == times_of(clip) and len(times_of(result)) == 20
    assert sound_of(result) == sound_of(clip) and len(sound_of(clip)) > 40
    images = frames_of(result)
    assert images[0].shape == (480, 640, 3)
    about = found()['clips'][clip.name]
    assert (about['frames'], about['tracks'], about['restored'], about['enlarged']) == (20, 2, 40, 4)
    assert about['flicker']['pairs'] == 2 * (7 + 7 + 3)  # type: ignore[index]
    # What was restored is where the squares are, and only there.
    assert infer(clip.name, '--strength', '0', out='plain') == 0
    for number, (image, plain) in enumerate(zip(images, frames_of(folder / 'plain' / clip.name), strict=True)):
        changed = np.abs(image.astype(int) - plain).max(axis=2)
        near = np.zeros(changed.shape, bool)
        for face in range(2):
            x, y = (4 * corner for corner in place(number, face))
            assert changed[y : y + 40, x : x + 40].mean() > 4
            near[y - 40 : y + 80, x - 40 : x + 80] = True
        assert changed[~near].mean() < 1
    assert sorted(os.listdir('out')) == [clip.name]


@pytest.mark.parametrize('turn', [90, -90, 180])
def test_a_turned_clip_is_looked_at_upright_and_stays_turned(folder: Path, turn: int) -> None:
    upright = [frame(number) for number in range(6)]
    clip = write_clip(folder / 'a.mp4', [np.rot90(image, -turn // 90) for image in upright], rotation=turn)
    assert infer(clip.name) == 0
    about = found()['clips'][clip.name]
    assert (about['rotation'], about['tracks']) == (turn, 1)
    import av

    with av.open(str(folder / 'out/a.mp4')) as container:
        (first, *_) = container.decode(container.streams.video[0])
    assert first.rotation % 360 == turn % 360
    shown = np.rot90(first.to_ndarray(format='rgb24'), turn // 90)
    assert shown.shape == (480, 640, 3)
    x, y = (4 * corner for corner in place(0))
    assert shown[y + 10 : y + 30, x + 10 : x + 30, 0].mean() > shown[..., 1].mean() + 40


@pytest.mark.parametrize('space', [None, 1, 5])
def test_colours_stay(folder: Path, space: int | None) -> None:
    """By whatever matrix they are stored."""
    image = frame(0, 0)
    image[:60, :80], image[60:, 80:] = (40, 160, 70), (130, 60, 150)
    clip = write_clip(folder / 'a.mp4', [image] * 3, space=space)
    assert infer(clip.name) == 0
    before, after = frames_of(clip)[1], frames_of(folder / 'out/a.mp4')[1][2::4, 2::4]
    for part in (np.s_[10:50, 10:70], np.s_[70:110, 90:150]):
        assert np.abs(after[part].mean(axis=(0, 1)) - before[part].mean(axis=(0, 1))).max() < 1.5
        assert np.abs(before[part].mean(axis=(0, 1)) - image[part].mean(axis=(0, 1))).max() < 4


def test_odd_sides_stay(folder: Path) -> None:
    clip = write_clip(folder / 'a.avi', [frame(number)[:119, :157] for number in range(4)], codec='mpeg4', sound='mp3')
    assert infer(clip.name, '--enlarge', '1') == 0
    assert frames_of(folder / 'out/a.mp4')[0].shape == (119, 157, 3)
    assert [bytes_ for _, bytes_ in sound_of(folder / 'out/a.mp4')] == [bytes_ for _, bytes_ in sound_of(clip)]


@pytest.mark.parametrize(('kind', 'number'), [('looked', 1), ('made', 0), ('made', 2)])
def test_a_run_that_was_stopped_makes_the_same_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, number: int
) -> None:
    clip = write_clip(folder / 'a.mp4', [frame(number, 2 if number > 10 else 1) for number in range(26)])
    assert infer(clip.name, out='whole') == 0
    written_parts: list[tuple[str, int]] = []
    write = Parts.write

    def stopping(self: Parts, this: str, place: int, arrays: dict[str, np.ndarray]) -> None:
        if (this, place) == (kind, number) and not written_parts.count((kind, -1)):
            written_parts.append((kind, -1))
            raise KeyboardInterrupt
        written_parts.append((this, place))
        write(self, this, place, arrays)

    monkeypatch.setattr(Parts, 'write', stopping)
    assert infer(clip.name) == 130
    assert not Path('out/a.mp4').exists() and Path('out/a.mp4.parts').is_dir()
    assert infer(clip.name) == 0
    # Nothing was done twice.
    assert len(written_parts) == len(set(written_parts)) == 4 + 4 + 1
    assert Path('out/a.mp4').read_bytes() == Path('whole/a.mp4').read_bytes()
    assert os.listdir('out') == ['a.mp4']


def test_a_damaged_part_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(folder / 'a.mp4', [frame(number) for number in range(20)])
    assert infer(clip.name, out='whole') == 0
    with monkeypatch.context() as patch:
        patch.setattr(restoring.ClipRestorer, '_make', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert infer(clip.name) == 130
    part = folder / 'out/a.mp4.parts/looked_000001.npz'
    part.write_bytes(part.read_bytes()[:-40])
    assert infer(clip.name) == 0
    assert Path('out/a.mp4').read_bytes() == Path('whole/a.mp4').read_bytes()


def test_other_options_are_an_error_that_names_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(folder / 'a.mp4', [frame(number) for number in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(restoring.ClipRestorer, '_make', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert infer(clip.name) == 130
    capsys.readouterr()
    assert infer(clip.name, '--strength', '0.5') == 2
    error = capsys.readouterr().err
    assert "'out/a.mp4.parts' was begun otherwise: options" in error and '--overwrite' in error
    assert 'strength' in error and 'Traceback' not in error
    assert infer(clip.name, '--strength', '0.5', '--overwrite') == 0
    assert infer(clip.name) == 2 and "'out/a.mp4' exists already" in capsys.readouterr().err
    before = Path('out/a.mp4').stat().st_mtime_ns
    assert infer(clip.name, '--skip-existing') == 0 and found()['skipped'] == 1
    assert Path('out/a.mp4').stat().st_mtime_ns == before


def test_a_folder_of_somebodys_own_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(folder / 'a.mp4', [frame(number) for number in range(4)])
    own = [Path('out/a.mp4.parts/thesis.tex'), Path('out/a.mp4.parts/looked_000000.npz')]
    own[0].parent.mkdir(parents=True)
    for file in own:
        file.write_text('mine', encoding='utf-8')
    for more in ([], ['--overwrite']):
        assert infer('a.mp4', *more) == 2
        assert "'out/a.mp4.parts' holds 'thesis.tex', which is no part of a clip" in capsys.readouterr().err
    assert [file.read_text(encoding='utf-8') for file in own] == ['mine', 'mine']
    assert sorted(os.listdir('out/a.mp4.parts')) == ['looked_000000.npz', 'thesis.tex']


def test_a_result_that_another_process_makes_is_left_to_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(folder / 'a.mp4', [frame(number) for number in range(4)])
    with only_writer(folder / 'out/a.mp4.parts'):
        assert infer('a.mp4') == 2
    error = capsys.readouterr().err
    assert "out/a.mp4.parts' is in use" in error and 'choose another folder for the results' in error
    assert not (folder / 'out/a.mp4').exists()
    assert infer('a.mp4') == 0 and os.listdir('out') == ['a.mp4']


def test_faces_one_by_one_are_no_clips(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(folder / 'a.mp4', [frame(0)] * 3)
    assert main(['infer', 'a.mp4', '-c', 'net.pth', '-o', 'out', '--aligned']) == 2
    assert "'a.mp4' is a clip, and every picture is a face by --aligned" in capsys.readouterr().err


def test_without_pyav_it_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fsr_plugins.restore.video import kinds

    write_clip(folder / 'in.mp4', [frame(0)] * 3)
    written(folder / 'mixed', {'a.png': png(picture(0, 8, 8))})
    shutil.copy('in.mp4', 'mixed/b.mp4')
    monkeypatch.setattr(kinds, 'find_spec', lambda _: None)
    assert infer('in.mp4') == 2
    assert "clips need PyAV: pip install 'fsr_plugins[video]'" in capsys.readouterr().err
    assert infer('mixed', out='more') == 0 and os.listdir('more') == ['a.png']


def test_flicker_is_the_mean_change_beside_that_of_bicubic() -> None:
    flicker = Flicker()
    grey = [np.full((20, 20, 3), level, np.uint8) for level in (100, 103, 101, 110)]
    flicker.add(0, {1: (grey[0], grey[0])})
    flicker.add(1, {1: (grey[1], grey[2]), 2: (grey[3], grey[3])})
    flicker.add(3, {1: (grey[3], grey[3])})  # a frame is missing: no pair
    assert figures(flicker.sums) == {'restored': 3.0, 'bicubic': 1.0, 'ratio': 3.0, 'pairs': 1}
    assert figures(np.zeros(3)) is None


def test_options_without_effect_on_a_clip_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(folder / 'a.mp4', [frame(number) for number in range(3)])
    assert infer(clip.name, '--ext', 'jpg', '--save-faces', 'faces') == 0
    said = capsys.readouterr().out
    assert "--ext jpg has no effect on clips: 'a.mp4' becomes 'out/a.mp4'" in said
    assert '--save-faces has no effect on clips' in said
    assert infer(clip.name, '--ext', 'same', out='again') == 0
    assert 'has no effect' not in capsys.readouterr().out
