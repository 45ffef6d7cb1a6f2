"""Files that are called clips and are none, or damaged: one message each, and the others are done."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, written
from test_restore import POINTS, write_checkpoint
from tiny_clips import RedSquares, frame, write_clip

from fsr_plugins.cli import main
from fsr_plugins.restore import restorers
from fsr_plugins.restore.video import reading


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: RedSquares())
    write_checkpoint(tmp_path / 'net.pth', [{'size': [32, 32], 'points': POINTS.tolist()}])
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], name: str) -> str:
    """What is said of a clip; nothing of it is left."""
    capsys.readouterr()
    assert main(['infer', name, '-c', 'net.pth', '-o', 'out']) == 2
    printed = capsys.readouterr()
    assert 'Traceback' not in printed.err and f"'{name}'" in printed.err
    assert printed.err.count('\n- ') == 1
    assert not Path('out').exists() or not [left for left in os.listdir('out') if not left.endswith('.parts')]
    return printed.err


def clip(folder: Path, name: str, **how: object) -> Path:
    return write_clip(folder / name, [frame(number) for number in range(12)], **how)  # type: ignore[arg-type]


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.avi', '.mov'])
@pytest.mark.parametrize('share', [0.02, 0.4, 0.9])
def test_what_is_cut_off(folder: Path, capsys: pytest.CaptureFixture[str], suffix: str, share: float) -> None:
    whole = clip(folder, f'whole{suffix}', codec='mpeg4', sound='mp3' if suffix == '.avi' else 'aac')
    data = whole.read_bytes()
    (folder / f'a{suffix}').write_bytes(data[: int(len(data) * share)])
    error = refused(capsys, f'a{suffix}')
    assert 'is cut off' in error or 'it is damaged' in error


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (b'', 'is empty'),
        (b'no clip at all, but text' * 50, 'cannot be read as a clip'),
        (np.random.default_rng(0).bytes(5000), 'cannot be read as a clip'),
        (b'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n', 'cannot be read as a clip'),
        (b"ffconcat version 1.0\nfile 'whole.mp4'\n", 'cannot be read as a clip'),
        (struct.pack('>I4s4sI', 16, b'ftyp', b'isom', 0) + struct.pack('>I4sQ', 1, b'moov', 1 << 60), 'is cut off'),
    ],
)
def test_what_is_no_clip(folder: Path, capsys: pytest.CaptureFixture[str], data: bytes, said: str) -> None:
    clip(folder, 'whole.mp4')
    (folder / 'a.mp4').write_bytes(data)
    assert said in refused(capsys, 'a.mp4')


def test_what_has_no_video(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av
    from av.audio.frame import AudioFrame

    with av.open('a.mp4', 'w') as output:
        audio = output.add_stream('aac', rate=48_000)
        audio.layout = 'mono'
        part = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
        part.sample_rate = 48_000
        output.mux(audio.encode(part))
        output.mux(audio.encode(None))
    assert 'holds no video' in refused(capsys, 'a.mp4')


def test_what_has_no_frame(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    with av.open('a.mkv', 'w') as output:
        video = output.add_stream('libx264', rate=25)
        video.width, video.height = 64, 48
        output.start_encoding()
    error = refused(capsys, 'a.mkv')
    assert 'holds no frame' in error or 'cannot be read as a clip' in error


def test_a_header_that_claims_a_huge_frame(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(folder, 'a.mp4')
    monkeypatch.setattr(reading, 'MOST_PIXELS', 1000)
    error = refused(capsys, 'a.mp4')
    assert 'claims frames of 160x120, more than the 1000 pixels' in error or 'cannot be read as a clip' in error


def test_more_than_eight_bits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av
    from av.video.frame import VideoFrame

    with av.open('a.mp4', 'w') as output:
        video = output.add_stream('libx264', rate=25)
        video.width, video.height, video.pix_fmt = 160, 120, 'yuv420p10le'
        for number in range(3):
            image = VideoFrame.from_ndarray(frame(number), format='rgb24').reformat(format='yuv420p10le')
            image.pts = number
            output.mux(video.encode(image))
        output.mux(video.encode(None))
    assert 'has 10 bits a channel' in refused(capsys, 'a.mp4')


def test_the_others_of_a_folder_are_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder / 'in', {'face.png': png(picture(0, 8, 8)), 'b.mp4': b'nothing'})
    clip(folder, 'in/a.mp4')
    assert main(['infer', 'in', '-c', 'net.pth', '-o', 'out']) == 2
    printed = capsys.readouterr()
    assert '1 clip and 1 picture done, 1 clip failed' in printed.err and "'in/b.mp4' cannot be read" in printed.err
    assert sorted(os.listdir('out')) == ['a.mp4', 'face.png']


def test_a_pipe_does_not_hold_it_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo('a.mp4')
    capsys.readouterr()
    assert main(['infer', '.', '-c', 'net.pth', '-o', 'out']) == 2
    assert 'is no file of a clip' in capsys.readouterr().err


def test_pictures_and_clips_that_failed_are_counted_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = 'a' * 249
    pictures = {'face.png': png(picture(0, 8, 8)), 'no.png': b'no picture', f'{long}.png': png(picture(1, 8, 8))}
    written(folder / 'in', {**pictures, 'b.mp4': b'nothing'})
    assert main(['infer', 'in', '-c', 'net.pth', '-o', 'out', '--suffix', '_x4']) == 2
    printed = capsys.readouterr()
    assert '1 of 3 pictures, 2 cannot be done' in printed.out
    assert '1 picture done, 2 pictures and 1 clip failed' in printed.err and printed.err.count('\n- ') == 3


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_a_damaged_clip_is_restored_with_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str], codec: str
) -> None:
    import av

    rng = np.random.default_rng(0)
    file = write_clip(folder / 'a.mp4', [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(12)], codec=codec)
    arguments = ['infer', 'a.mp4', '-c', 'net.pth', '--json', 'found.json']
    assert main([*arguments, '-o', 'whole']) == 0
    assert 'is damaged' not in capsys.readouterr().out
    assert json.loads(Path('found.json').read_text())['clips']['a.mp4']['damaged'] == 0
    with av.open(str(file)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(file.read_bytes())
    for start, size in places[4:7]:
        for place in rng.integers(start + size // 2, start + size, 3):
            data[place] ^= 0xFF
    file.write_bytes(data)
    assert main([*arguments, '-o', 'out']) == 0
    damaged = json.loads(Path('found.json').read_text())['clips']['a.mp4']['damaged']
    assert 1 <= damaged <= 4
    assert f"'a.mp4' is damaged: FFmpeg met errors in {damaged} of its 12 frames" in capsys.readouterr().out
