"""``fsr infer``: faces one by one, and faces in photographs, by a checkpoint alone."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
import torch
from PIL import Image as PILImage
from prepared import picture, png, written

import fsr_plugins
from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.degradations import bicubic
from fsr_plugins.degradations.bicubic import bicubic_up, imresize
from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection
from fsr_plugins.images import Header, decode_image
from fsr_plugins.registry import build_network
from fsr_plugins.restore import photograph, restorers, run
from fsr_plugins.restore.face_choice import FaceChoice
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.images import read_image
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face

#: Where the points lie in HR of 32×32, and in LR of 8×8: whole numbers are pixel centres.
POINTS = np.array([[10.0, 12], [21, 12], [15.5, 18], [11, 24], [20, 24]], np.float32)
LR_POINTS = (POINTS + 0.5) / 4 - 0.5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``net.pth``, trained on faces of 32×32, and ``lr/`` with three faces of 8×8."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / 'net.pth', [{'size': [32, 32], 'points': POINTS.tolist()}])
    written(tmp_path / 'lr', {f'{number}.png': png(picture(number, 8, 8)) for number in range(3)})
    return tmp_path


def write_checkpoint(file: Path, stores: Sequence[dict[str, object]], crop: int | None = None) -> None:
    torch.manual_seed(0)
    net = build_network(tiny.EDSR)
    meta = describe('net_g', tiny.EDSR, 4, read_settings(tiny.options()).training({'train': list(stores)}))
    meta['sizes'] = {} if crop is None else {'train': crop}
    save_network(file, {'params': net}, meta)


def jpeg(side: int) -> bytes:
    return cv2.imencode('.jpg', picture(2, side, side))[1].tobytes()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(['infer', '-c', 'net.pth', '-o', 'out', *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith('fsr: error: ') and 'Traceback' not in printed.err
    return printed.err


# ---- faces -----------------------------------------------------------------------------------------------------------


def test_faces_are_what_the_network_makes_of_them(folder: Path) -> None:
    assert main(['infer', 'lr', 'lr/../lr', '-c', 'net.pth', '-o', 'out', '--json', 'found.json']) == 0
    assert sorted(os.listdir('out')) == ['0.png', '1.png', '2.png']  # what is given twice is done once
    net = fsr_plugins.load('net.pth')
    for number in range(3):
        lq = torch.from_numpy(cv2.imread(f'lr/{number}.png')[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = (net(lq)[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
        result = cv2.imread(f'out/{number}.png')[..., ::-1].astype(float)
        assert result.shape == (32, 32, 3) and np.abs(result - expected).max() <= 1
        assert result.std() > 5
    found = json.loads(Path('found.json').read_text())
    assert found['pictures']['lr/1.png'] == {'result': 'out/1.png'} and found['skipped'] == 0


def test_other_sizes_are_fitted_or_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder / 'more', {'large.png': png(picture(7, 32, 32)), 'right.png': png(picture(8, 8, 8))})
    error = refused(capsys, 'more', '--aligned')
    assert '1 picture done, 1 failed' in error and "'more/large.png' is 32×32" in error and '--fit' in error
    assert Path('out/right.png').exists() and not Path('out/large.png').exists()
    assert (
        main(['infer', 'more', '-c', 'net.pth', '-o', 'out', '--fit', '--skip-existing', '--json', 'found.json']) == 0
    )
    assert json.loads(Path('found.json').read_text())['skipped'] == 1
    # MATLAB's reduction is checked where it is defined; here, that it is what is taken.
    small = imresize(torch.from_numpy(read_image('more/large.png')).permute(2, 0, 1)[None] / 255, size=(8, 8))
    lr = (small[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    written(folder / 'fitted', {'large.png': png(lr)})
    assert main(['infer', 'fitted', '-c', 'net.pth', '-o', 'again']) == 0
    assert Path('again/large.png').read_bytes() == Path('out/large.png').read_bytes()
    assert main(['infer', 'more/large.png', '-c', 'net.pth', '-o', 'whole', '--size', '32', '32']) == 0
    assert read_image('whole/large.png').shape == (128, 128, 3)


@pytest.mark.parametrize('sides', [(16, 24), (24, 16)])
def test_a_size_that_is_asked_for_is_not_called_the_trainings(
    folder: Path, capsys: pytest.CaptureFixture[str], sides: tuple[int, int]
) -> None:
    written(folder / 'tall', {'a.png': png(picture(0, *sides[::-1])), 'b.png': png(picture(1, *sides))})
    error = refused(capsys, 'tall', '--aligned', '--size', *map(str, sides))
    assert f"- 'tall/a.png' is {sides[1]}×{sides[0]} (height × width), --size says {sides[0]}×{sides[1]}: " in error
    assert 'trained' not in error and f'--size {sides[1]} {sides[0]} ' in error
    assert os.listdir('out') == ['b.png']


def test_the_help_asks_for_no_lmdb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['infer', '--help']) == 0
    said = ' '.join(capsys.readouterr().out.split())
    assert 'folders of them, also prepared ones (no LMDB)' in said and 'prepared sets' not in said


@pytest.mark.parametrize('store', [{'size': [32, 32]}, {}])
def test_a_network_of_random_crops_enlarges_pictures_as_a_whole(folder: Path, store: dict[str, object]) -> None:
    write_checkpoint(folder / 'crops.pth', [store], crop=16)
    written(folder / 'own', {'small.png': png(picture(7, 8, 8)), 'large.png': png(picture(8, 30, 20))})
    assert main(['infer', 'own', '-c', 'crops.pth', '-o', 'whole']) == 0
    sizes = [read_image(f'whole/{name}.png').shape for name in ('small', 'large')]
    assert sizes == [(32, 32, 3), (120, 80, 3)]


def test_where_points_are_not_known_all_ways_out_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(folder / 'net.pth', [{'size': [32, 32]}])
    written(folder / 'own', {'large.png': png(picture(8, 30, 20))})
    error = refused(capsys, 'own')
    assert '--like ffhq' in error and '--aligned' in error


def test_what_is_not_done_is_not_counted_as_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder / 'more', {f'{number}.png': png(picture(number, 8, 8 if number else 9)) for number in range(4)})
    assert main(['infer', 'more', '-c', 'net.pth', '-o', 'out', '--aligned']) == 2
    assert '3 of 4 pictures, 1 cannot be done' in capsys.readouterr().out


def test_a_prepared_set_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = [Face(f'{number}', picture(number, 8, 8), parsing=np.zeros((8, 8), np.uint8)) for number in range(3)]
    write_folder(folder / 'set', faces)
    assert main(['infer', 'set', '-c', 'net.pth', '-o', 'out', '--json', 'found.json']) == 0
    found = json.loads(Path('found.json').read_text())
    assert list(found['pictures']) == [f'set/images/{number}.png' for number in range(3)] and not found['left_out']
    assert main(['infer', 'lr', '-c', 'net.pth', '-o', 'plain']) == 0
    assert [read_image(f'out/{number}.png').tolist() for number in range(3)] == [
        read_image(f'plain/{number}.png').tolist() for number in range(3)
    ]
    write_lmdb(folder / 'set.lmdb', faces, 'png')
    assert "'set.lmdb' is an LMDB" in refused(capsys, 'set.lmdb')


@pytest.mark.parametrize('arguments', [['', '-o', 'out'], ['lr', '-o', ''], ['lr', '-o', 'out', '-c', '']])
def test_an_empty_name_is_no_folder(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(['infer', '-c', 'net.pth', *arguments]) == 2
    assert 'the path is empty' in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {'net.pth', 'lr'}
    with pytest.raises(UserError, match='is empty'):
        open_store('')


def test_faces_of_many_sizes_keep_their_order(folder: Path) -> None:
    network = FaceNetwork(lambda lq: bicubic_up(lq, 4), 4)
    images = [picture(number, 6 + number % 3, 8) for number in range(70)]
    for image, result in zip(images, network(images), strict=True):
        one = bicubic_up(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, 4)[0].permute(1, 2, 0).numpy()
        assert np.abs(result - one * 255).max() <= 0.51
    assert network([]) == []


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['nowhere'], "There is no image or folder 'nowhere'"),
        (['empty'], "The folder 'empty' holds no images"),
        (['lr', '-o', 'lr'], "'lr/0.png' is one of the inputs"),
        (['lr', '-o', 'net.pth'], "net.pth: that is a file"),
        (['lr', '-c', 'lr/0.png'], 'lr/0.png'),
        (['lr', '-c', 'none.pth'], 'none.pth'),
        (['lr', '-c', 'unknown.pth', '--fit'], "'unknown.pth' does not say how large"),
        (['lr', '-c', 'unknown.pth', '--photographs'], 'give --size'),
        (['lr', '--aligned', '--enlarge', '2'], '--enlarge is for photographs'),
        (['lr', '--fit', '--detector-weights', 'w.pth'], '--detector-weights is for photographs'),
        (['lr', '--photographs', '--fit'], '--fit is for pictures that are faces'),
        (['lr', '-c', 'judge.pth', '--size', '8', '8'], "enlarge faces 2 times. (3 pictures, 'lr/0.png' is one)"),
        (['lr/1.png', '-c', 'judge.pth', '--size', '8', '8'], "2 times. (1 picture, 'lr/1.png' is one)"),
        (['lr', '--device', 'meta'], '--device meta: not here'),
        (['lr', '--device', 'abacus'], '--device abacus'),
        (['lr', '--size', '0', '8'], '--size 0 8'),
        (['lr', '--photographs', '--enlarge', '0'], '--enlarge 0'),
        (['lr', '--photographs', '--detector', 'retinaface'], "No detector is named 'retinaface'"),
        (['lr', '--photographs', '--like', 'lr'], 'has no landmarks'),
        (['lr', '--photographs', '--like', 'nowhere'], "'nowhere' does not exist"),
        (['broken'], "1 picture done, 1 failed:\n- 'broken/0.png' cannot be decoded"),
    ],
)  # fmt: skip
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    (folder / 'empty').mkdir()
    write_checkpoint(folder / 'unknown.pth', [])
    content = torch.load('net.pth', weights_only=True)
    content['meta']['scale'] = 2
    torch.save(content, 'judge.pth')
    written(folder / 'broken', {'0.png': b'\x89PNG', '1.png': png(picture(1, 8, 8))})
    assert said in refused(capsys, *arguments)
    assert {file.name for file in folder.glob('out/*')} == ({'1.png'} if 'broken' in arguments else set())


def test_results_are_not_replaced_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder / 'out', {'1.png': b'mine'})
    assert "'out/1.png' exists already (1 of 3 do)" in refused(capsys, 'lr')
    assert Path('out/1.png').read_bytes() == b'mine' and not Path('out/0.png').exists()
    assert main(['infer', 'lr', '-c', 'net.pth', '-o', 'out', '--skip-existing']) == 0
    assert Path('out/1.png').read_bytes() == b'mine' and Path('out/0.png').exists()
    assert main(['infer', 'lr', '-c', 'net.pth', '-o', 'out', '--overwrite']) == 0
    assert read_image('out/1.png').shape == (32, 32, 3)


def test_one_odd_file_takes_no_other_with_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of nine pictures eight are written, whatever the ninth is: also a name at which OpenCV's own reader dies."""
    chunk = struct.pack('>I', 13) + b'IHDR' + struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    odd = {
        'lie': lambda path: path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk + bytes(4) + struct.pack('>I', 0) + b'IDAT'),
        'empty': lambda path: path.write_bytes(b''),
        'loop': lambda path: path.symlink_to(path.name),
        'pipe': os.mkfifo,
        'deep': lambda path: cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint16)),
    }
    for name, make in odd.items():
        good = {f'{number}.png': png(picture(number, 8, 8)) for number in range(7)}
        written(folder / name, good)
        Path(os.fsdecode(name.encode() + b'/\xff\xfe.png')).write_bytes(good['0.png'])
        make(Path(name, 'odd.png'))
        assert f"8 pictures done, 1 failed:\n- '{name}/odd.png' " in refused(
            capsys, name, '-o', f'out_{name}', '--json', 'found.json'
        )
        found = json.loads(Path('found.json').read_text())
        assert len(found['pictures']) == len(os.listdir(f'out_{name}')) == 8 and list(found['failed']) == [
            f'{name}/odd.png'
        ]
        assert found['error'].startswith('8 pictures done')


def test_names_that_differ_in_their_ending_alone_keep_it(folder: Path) -> None:
    files = {name: png(picture(number, 8, 8)) for number, name in enumerate(('a.jpg', 'a.png', 'b.png'))}
    written(folder / 'two', {**files, 'x' * 250 + '.png': files['a.jpg']})
    assert main(['infer', 'two', '-c', 'net.pth', '-o', 'out']) == 0
    assert set(os.listdir('out')) == {'a.jpg.png', 'a.png.png', 'b.png', 'x' * 250 + '.png'}


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--json', 'lr'], '--json lr: that is a folder'),
        (['--json', 'nowhere/x.json'], "there is no folder 'nowhere'"),
        (['--json', 'x' * 300], 'too long a name'),
        (['-o', 'net.pth/sub'], "'net.pth' cannot be written"),
        (['-o', 'loop/sub'], 'cannot be written'),
        (['-o', 'taken'], "'taken/0.png' is a folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_found_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    Path('loop').symlink_to('loop')
    Path('taken/0.png').mkdir(parents=True)
    monkeypatch.setattr(FaceNetwork, 'open', None)
    assert said in refused(capsys, 'lr', *arguments)
    assert not Path('out').exists()


def test_what_infer_leaves_out_or_drops_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    see_through = cv2.imencode('.png', np.full((8, 8, 4), 100, np.uint8))[1].tobytes()
    written(
        folder / 'mixed', {'a.png': see_through, 'b.png': png(picture(0, 8, 8)), 'c.gif': b'GIF', 'deep/d.png': b''}
    )
    assert main(['infer', 'mixed', '-c', 'net.pth', '-o', 'out', '--ext', 'jpg', '--json', 'found.json']) == 0
    found = json.loads(Path('found.json').read_text())
    assert found['left_out'] == {'mixed': {'other_kinds': ['c.gif'], 'folders': ['deep']}}
    assert found['pictures']['mixed/a.png']['alpha'] == 'dropped' and 'alpha' not in found['pictures']['mixed/b.png']
    printed = capsys.readouterr().out
    assert "'mixed/c.gif'" not in printed and 'c.gif' in printed and 'Alpha of 1 picture was dropped' in printed
    assert "1 folder in it ('deep' is one; --recursive takes them)" in printed


@pytest.mark.parametrize('suffix', ['webp', 'png', 'gif', 'tiff'])
def test_frames_behind_the_first_are_said(folder: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    first, *more = (PILImage.fromarray(picture(number, 8, 8)) for number in range(3))
    first.save(f'moving.{suffix}', save_all=True, append_images=more)
    assert main(['infer', f'moving.{suffix}', 'lr', '-c', 'net.pth', '-o', 'out', '--json', 'found.json']) == 0
    printed = capsys.readouterr().out
    assert f'Of 1 picture with several frames or pages the first alone was enlarged (moving.{suffix} is one, of 3)' in (
        printed
    )
    found = json.loads(Path('found.json').read_text())['pictures']
    assert found[f'moving.{suffix}']['frames_left_out'] == 2 and 'frames_left_out' not in found['lr/0.png']


def test_faces_that_are_not_saved_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert '--save-faces is for photographs' in refused(capsys, 'lr', '--aligned', '--save-faces', 'faces')
    assert main(['infer', 'lr', '-c', 'net.pth', '-o', 'out', '--save-faces', 'faces']) == 0
    assert '--save-faces has no effect' in capsys.readouterr().out and not Path('faces').exists()


def test_one_reason_of_many_pictures_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder / 'five', {f'{number}.png': png(picture(number, 16, 16)) for number in range(5)})
    assert refused(capsys, 'five', '--aligned').count('\n- ') == 5
    written(folder / 'seven', {f'{number}.png': png(picture(number, 16, 16)) for number in range(7)})
    written(folder / 'seven', {'wide.png': png(picture(8, 16, 24)), 'right.png': png(picture(9, 8, 8))})
    error = refused(capsys, 'seven', '--aligned')
    assert '1 picture done, 8 failed' in error and error.count('\n- ') == 2
    assert "- 'seven/0.png' is 16×16" in error and '(and 6 others likewise; --json FILE names all)' in error
    assert "- 'seven/wide.png' is 16×24" in error


def test_no_more_is_decoded_than_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit by its header is not decoded at all, and the rest some pixels at a time."""
    written(folder / 'many', {f'{number}.png': png(picture(number, 8, 8)) for number in range(10)})
    written(folder / 'many', {'large.png': png(picture(0, 400, 400))})
    decoded: list[str] = []
    together: list[int] = []

    def decode(data: bytes, what: str) -> np.ndarray:
        decoded.append(what)
        return decode_image(data, what)

    class Counted(restorers.AlignedFaces):
        def make(self, read: Mapping[Path, np.ndarray]) -> tuple[restorers.Made, restorers.Wrong]:
            together.append(len(read))
            return super().make(read)

    monkeypatch.setattr('fsr_plugins.restore.choosing.AlignedFaces', Counted)
    monkeypatch.setattr('fsr_plugins.restore.pictures.decode_image', decode)
    monkeypatch.setattr('fsr_plugins.restore.run.IN_FLIGHT', 3 * (8 * 8 + 32 * 32))
    assert main(['infer', 'many', '-c', 'net.pth', '-o', 'out', '--aligned']) == 2
    assert together == [3, 3, 3, 1] and 'many/large.png' not in decoded and len(os.listdir('out')) == 10


class Remembering:
    """Returns the pictures enlarged, and looks whether those of earlier calls and their results are still held."""

    together = 1

    def __init__(self) -> None:
        self.given: list[weakref.ref[np.ndarray]] = []
        self.held: list[int] = []
        self.order: list[str] = []

    def pixels(self, header: Header) -> int:
        return header.height * header.width

    def unfit(self, header: Header) -> None:
        return None

    def make(self, read: Mapping[Path, np.ndarray]) -> tuple[restorers.Made, restorers.Wrong]:
        self.held.append(sum(each() is not None for each in self.given))
        self.order += [source.name for source in read]
        made = {source: restorers.Result(photograph.enlarged(image, 2), {}) for source, image in read.items()}
        self.given += [weakref.ref(each) for source, result in made.items() for each in (read[source], result.image)]
        return made, {}


def test_nothing_of_a_picture_is_held_while_the_next_is_worked_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = Remembering()
    monkeypatch.setattr(run, 'enlarger', lambda *_: working)
    assert main(['infer', 'lr', '-c', 'net.pth', '-o', 'out']) == 0
    assert len(list((folder / 'out').iterdir())) == 3 and len(working.given) == 6
    assert working.held == [0, 0, 0]


def test_the_largest_is_worked_on_first_and_said_in_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a folder needs no more memory than the largest of it, and what cannot be held is found out at once."""
    files = {'a.png': png(picture(0, 9, 9)), 'b.jpg': jpeg(30), 'c.webp': b'no image', 'd.png': png(picture(1, 20, 20))}
    written(folder / 'many', files)
    os.mkfifo(folder / 'many/e.png')
    working = Remembering()
    monkeypatch.setattr(run, 'enlarger', lambda *_: working)
    assert main(['infer', 'many', '-c', 'net.pth', '-o', 'out', '--json', 'found.json']) == 2
    assert working.order == ['b.jpg', 'd.png', 'a.png']
    found = json.loads(Path('found.json').read_text())
    assert list(found['pictures']) == ['many/a.png', 'many/b.jpg', 'many/d.png']
    assert list(found['failed']) == ['many/c.webp', 'many/e.png']


def test_a_size_that_the_network_does_not_take_keeps_no_other_out() -> None:
    def net(lq: torch.Tensor) -> torch.Tensor:
        if lq.shape[2] == 6:
            raise RuntimeError('six')
        return bicubic_up(lq, 4)

    restorer = restorers.AlignedFaces(FaceNetwork(net, 4), fit=False)
    made, wrong = restorer.make({Path(f'{side}'): picture(side, side, 8) for side in (5, 6, 7)})
    assert set(made) == {Path('5'), Path('7')} and 'six' in wrong[Path('6')]
    assert restorer.unfit(Header('PNG', 9000, 9000)) is not None and restorer.unfit(Header('PNG', 90, 90)) is None


def test_script_is_fsr_infer(tmp_path: Path) -> None:
    script = Path(fsr_plugins.__file__).parent / 'inference.py'
    ended = subprocess.run([sys.executable, str(script), '--help'], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.startswith('usage: fsr infer')


# ---- photographs -----------------------------------------------------------------------------------------------------


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without detail, uint8 (height, width, 3): resampling it in any way changes next to nothing."""
    return cv2.GaussianBlur(picture(3, height, width), (0, 0), 6, borderType=cv2.BORDER_REFLECT)


def turned(points: np.ndarray, degrees: float, size: float, centre: tuple[float, float]) -> np.ndarray:
    """LR's points in a photograph: turned, ``size`` times as large, round ``centre``."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((points - points.mean(axis=0)) @ turn.T * size + centre).astype(np.float32)


def detection(points: np.ndarray, score: float = 0.9) -> Detection:
    return Detection(np.array([*points.min(axis=0), *points.max(axis=0)], np.float32), score, points)


@pytest.mark.parametrize('times', [1, 2, 4, 5])
@pytest.mark.parametrize(('degrees', 'size'), [(0, 1.0), (25, 1.7), (-160, 0.6)])
def test_a_face_comes_back_to_its_place(degrees: float, size: float, times: int) -> None:
    """A network that only enlarges must leave a photograph as it is, wherever and however turned the face is."""
    # Ramps across, down and back: any interpolation keeps them, and a shift changes first and last by opposite amounts,
    # rounding all by the same.
    y, x = np.mgrid[:60, :60] * 4.25
    image = np.rint(np.stack([x, y, 255 - x], axis=2)).astype(np.uint8)
    network = FaceNetwork(lambda lq: bicubic_up(lq, 4), 4, (8, 8), LR_POINTS)
    cuts = photograph.cut(
        image, [detection(turned(LR_POINTS, degrees, size, (32, 30)))], (8, 8), LR_POINTS, FaceChoice(most=2.0)
    )
    assert cuts[0].reduction == pytest.approx(size, rel=1e-5)
    plain = photograph.enlarged(image, times)
    result = plain.copy()
    photograph.put_back(result, times, cuts, network([cuts[0].lr]))
    difference = result.astype(float) - plain
    y, x = (np.mgrid[: 60 * times, : 60 * times] + 0.5) / times - 0.5
    away = np.hypot(x - 32, y - 30) / size  # in LR's pixels; the points' middle is half a pixel from the face's
    assert np.abs(difference).max() <= 2 and (difference[away > 6.5] == 0).all()
    across, _, back = difference[away < 3].mean(axis=0)
    shift = (across - back) / 2 / 4.25  # in the photograph's pixels
    assert abs(shift) < 0.03


def checkered(lq: torch.Tensor, shift: float = 0.0) -> torch.Tensor:
    """A network that adds detail, a pattern of squares of 3×3 by 0.2, and a shift of all colours."""
    larger = bicubic_up(lq, 4)
    y, x = torch.meshgrid(torch.arange(larger.shape[2]), torch.arange(larger.shape[3]), indexing='ij')
    return larger + 0.2 * (1 - 2 * ((y // 3 + x // 3) % 2)) + shift


def restored(image: np.ndarray, size: float, shift: float = 0.0, most: float = 2.0, strength: float = 1.0):
    """A photograph with the face in its middle restored by :func:`checkered`, and enlarged only: float (4H, 4W, 3)."""
    middle = (image.shape[1] / 2, image.shape[0] / 2)
    network = FaceNetwork(lambda lq: checkered(lq, shift), 4, (8, 8), LR_POINTS)
    found = [detection(turned(LR_POINTS, 0, size, middle))]
    cuts = photograph.cut(image, found, (8, 8), LR_POINTS, FaceChoice(most=most, strength=strength))
    plain = photograph.enlarged(image, 4)
    result = plain.copy()
    chosen = [cut for cut in cuts if cut.lr is not None]
    photograph.put_back(result, 4, chosen, network([cut.lr for cut in chosen]))
    return result.astype(float), plain.astype(float)


def test_a_changed_face_is_seen_in_its_place_only() -> None:
    result, plain = restored(np.full((60, 60, 3), 100, np.uint8), 1.0)
    changed = (result != plain).any(axis=2)
    assert changed[112:128, 112:128].mean() > 0.5 and np.abs(result - plain).max() > 30
    assert changed.sum() < 34 * 34 and not changed[:90].any() and not changed[:, -90:].any()


@pytest.mark.parametrize('shift', [-0.2, 0.15])
def test_a_networks_shift_of_colours_does_not_show(shift: float) -> None:
    """At low frequency a restored face has the photograph's mean and spread, so no square shows."""
    result, plain = restored(smooth(60, 60) // 2 + 64, 1.0, shift)
    away = cv2.GaussianBlur(result - plain, (0, 0), 8)
    assert np.abs(away).max() < 2.5 and np.abs(result - plain).max() > 30
    low = away[106:134, 106:134]
    assert np.abs(low.mean(axis=(0, 1))).max() < 1 and low.std(axis=(0, 1)).max() < 1


def test_faces_fade_into_the_untouched_one_near_the_largest() -> None:
    weights = [FaceChoice(most=1.1, least=0).faded(size) for size in np.linspace(0.5, 1.2, 71)]
    faded = FaceChoice(most=1.1, least=0).faded
    assert weights[0] == faded(0.8 * 1.1) == 1 and weights[-1] == faded(1.1) == 0
    assert (np.diff(weights) <= 0).all() and np.abs(np.diff(weights)).max() < 0.1
    assert faded((0.8 + 1) / 2 * 1.1) == pytest.approx(0.5)
    changes = []
    for size in (0.9, 0.95, 1.0, 1.05, 1.11):
        result, plain = restored(smooth(60, 60), size, most=1.1)
        changes.append(np.abs(result - plain).max())
    assert changes[0] > 30 and changes[-1] == 0 and (np.diff(changes) < 0).all()


def test_faces_of_which_nothing_is_there_are_left_alone() -> None:
    weights = [FaceChoice(most=1.1, least=0.35).faded(size) for size in np.linspace(0.3, 0.5, 41)]
    faded = FaceChoice(most=1.1, least=0.35).faded
    assert weights[0] == faded(0.35) == 0 and weights[-1] == 1
    assert (np.diff(weights) >= 0).all() and faded(0.4375) == 1
    faces = [detection(turned(LR_POINTS, 0, size, (30, 30))) for size in (0.34, 0.36, 0.5)]
    cuts = photograph.cut(smooth(60, 60), faces, (8, 8), LR_POINTS, FaceChoice())
    assert [cut.left_by for cut in cuts] == ['--least', None, None]
    assert cuts[0].weight == 0 < cuts[1].weight < 0.1 and cuts[2].weight == 1
    with pytest.raises(UserError, match='--least 1.2: less than --most is needed, which is 1.1'):
        FaceChoice(least=1.2).of((0.4375, 0.88))
    # Of a network that gains up to as large as LR it is no such limit.
    assert FaceChoice(least=1.2).of((0.0, 1.0)).range() == (1.2, 1.25)
    with pytest.raises(UserError, match='--least -1: 0 or more'):
        FaceChoice(least=-1)


def test_no_largest_size_is_no_limit() -> None:
    endless = FaceChoice(most=float('inf')).of((0.4375, 0.88))
    assert [endless.faded(size) for size in (0.5, 1.0, 100.0)] == [1, 1, 1]
    result, plain = restored(smooth(60, 60), 1.0, most=float('inf'))
    assert (result == restored(smooth(60, 60), 1.0, most=9.0)[0]).all() and (result != plain).any()


def test_the_largest_is_one_of_those_that_count() -> None:
    """A large face that is none, by its score, does not keep the largest real one from being restored."""
    faces = [
        detection(turned(LR_POINTS, 0, size, (30, 30)), score) for size, score in ((1.2, 0.5), (1.0, 0.9), (0.8, 0.9))
    ]
    only = {'only_largest': True, 'most': 2.0}

    def left(**how: float) -> list[str | None]:
        cuts = photograph.cut(smooth(60, 60), faces, (8, 8), LR_POINTS, FaceChoice(**only, **how))
        return [cut.left_by for cut in cuts]

    assert left() == [None, '--only-largest', '--only-largest']
    assert left(score=0.8) == ['--score', None, '--only-largest']
    sides = [float((each.box[2:] - each.box[:2]).max()) for each in faces]
    assert left(largest=sides[1]) == ['--max-face', None, '--only-largest']


def test_strength_blends_restored_and_untouched() -> None:
    whole, plain = restored(smooth(60, 60), 1.0)
    half, _ = restored(smooth(60, 60), 1.0, strength=0.5)
    none, _ = restored(smooth(60, 60), 1.0, strength=0.0)
    assert np.abs(half - (whole + plain) / 2).max() <= 1 and (none == plain).all()
    with pytest.raises(UserError, match='--strength 1.5'):
        restorers.Photographs(strength=1.5)


def test_faces_at_the_border_large_and_hopeless_ones() -> None:
    image = smooth(40, 40)
    network = FaceNetwork(lambda lq: bicubic_up(lq, 4), 4, (8, 8), LR_POINTS)
    border, large = turned(LR_POINTS, 10, 1.0, (1, 38)), turned(LR_POINTS, 0, 2.5, (20, 20))
    found = [detection(border), detection(large), detection(np.zeros((5, 2), np.float32))]
    cuts = photograph.cut(image, found, (8, 8), LR_POINTS, FaceChoice(most=2.0))
    assert [cut.lr is not None for cut in cuts] == [True, False]
    assert [cut.as_dict()['restored'] for cut in cuts] == [True, False]
    result = photograph.enlarged(image, 4)
    photograph.put_back(result, 4, cuts[:1], network([cuts[0].lr]))
    assert np.abs(result.astype(int) - photograph.enlarged(image, 4)).max() <= 12
    assert photograph.cut(image, [], (8, 8), LR_POINTS, FaceChoice(most=2.0)) == []


def test_how_many_times_a_photograph_is_enlarged() -> None:
    small, large = np.zeros((50, 50, 3), np.uint8), np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (3000, 4000, 3))
    assert [photograph.times(small.shape, 8, None), photograph.times(small.shape, 8, 3)] == [8, 3]
    assert [photograph.times(large.shape, 8, None), photograph.times(large.shape, 8, 3)] == [2, 3]
    # Twice at least as long as 128 million pixels hold it, for a shrunk face has gained nothing.
    assert [photograph.times((4000, side), 8, None) for side in (2000, 8000, 8001)] == [2, 2, 1]
    assert [photograph.times((4000, 1500), scale, None) for scale in (2, 4)] == [2, 2]
    with pytest.raises(UserError, match='4000×3000 enlarged 8 times is more than .* lower --enlarge'):
        photograph.times(large.shape, 8, 8)


class Everywhere:
    """A detector that sees a face in the middle of every image, and beside it what is hardly one."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        found = []
        for image in images:
            height, width = image.shape[:2]
            points = turned((LR_POINTS + 0.5) * 4 - 0.5, 5, 1.0, ((width - 1) / 2, (height - 1) / 2))
            found.append([detection(points), detection(points + [40, 0], 0.1)])
        return found


def test_photographs_by_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector looks at the enlarged photograph: its face is as large in LR as those of the training."""
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: Everywhere())
    written(folder / 'photos', {f'{number}.png': png(picture(number, 30, 40 + number)) for number in range(6)})
    command = ['infer', 'photos', '-c', 'net.pth', '--photographs', '--json', 'found.json']
    assert main([*command, '-o', 'out', '--score', '0.5']) == 0
    found = json.loads(Path('found.json').read_text())['pictures']
    assert len(found) == 6
    for number in range(6):
        about = found[f'photos/{number}.png']
        assert about['enlarged'] == 4 and [face['restored'] for face in about['faces']] == [False, True]
        assert about['faces'][0]['left_by'] == '--score'
        assert about['faces'][1]['reduction'] == pytest.approx(1.0, abs=0.01)
        result = read_image(about['result'])
        plain = cv2.resize(read_image(f'photos/{number}.png'), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        assert result.shape == (120, 4 * (40 + number), 3)
        assert (result[:30] == plain[:30]).all() and (result[50:70, 70:90] != plain[50:70, 70:90]).any()
    assert main([*command, '-o', 'many', '--score', '0', '--enlarge', '1']) == 0
    faces = json.loads(Path('found.json').read_text())['pictures']['photos/0.png']['faces']
    assert [face['restored'] for face in faces] == [True, True]
    assert main([*command, '-o', 'huge', '--enlarge', '900']) == 2


class Fixed:
    """A detector of given faces, whatever it looks at."""

    def __init__(self, *faces: Detection) -> None:
        self.faces = list(faces)

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        return [self.faces for _ in images]


@pytest.mark.parametrize(
    ('options', 'faces', 'said'),
    [
        ([], [], '0 faces found'),
        ([], [(1.0, 0.9)], '1 of 1 faces restored\n'),
        ([], [(2.5, 0.9), (1.0, 0.2)], '1 of 2 faces restored (1 left alone by --most)'),
        (['--score', '0.95'], [(1.0, 0.9), (1.0, 0.92)], '0 of 2 faces restored (2 left alone by --score)'),
        (['--score', '0.5', '--most', '1.5'], [(2.0, 0.9), (1.0, 0.3)],
         '0 of 2 faces restored (1 left alone by --most, 1 left alone by --score)'),
    ],
)  # fmt: skip
def test_faces_left_alone_are_counted_with_the_option_that_left_them(
    options: list[str],
    faces: list[tuple[float, float]],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A scale of 4 enlarges this photograph four times for the detector.
    seen = [
        detection(turned((LR_POINTS + 0.5) * 4 - 0.5, 0, size, (60 + 150 * place, 60)), score)
        for place, (size, score) in enumerate(faces)
    ]
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: Fixed(*seen))
    written(folder / 'photos', {'one.png': png(picture(0, 40, 90))})
    with caplog.at_level('WARNING'):
        assert main(['infer', 'photos', '-c', 'net.pth', '--photographs', '-o', 'out', *options]) == 0
    told = capsys.readouterr()
    assert said in told.out
    assert ('0 faces were found in 1 of 1 picture' in caplog.text + told.out + told.err) == (not faces)


def test_the_score_that_is_asked_for_reaches_the_detector(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(restorers, 'open_detector', lambda *given: asked.append(given[-1]) or Fixed())
    network = FaceNetwork.open('net.pth', torch.device('cpu'))
    for score in (None, 0.3):
        restorers.PhotographFaces(network, restorers.Photographs(score=score))
    assert asked == [None, 0.3]


def test_where_points_lie_is_as_in_the_training_or_as_in_a_set(folder: Path) -> None:
    faces = [Face(f'{number}', picture(number, 64, 64), landmarks=2 * POINTS + 0.5 + shift)
             for number, shift in enumerate((-1.0, 1.0, np.nan))]  # fmt: skip
    write_folder(folder / 'like', faces)
    facts = open_store('like').provenance()
    assert facts['size'] == [64, 64] and np.allclose(facts['points'], 2 * POINTS + 0.5)
    network = FaceNetwork.open('net.pth', torch.device('cpu'))
    assert network.size == (8, 8) and network.scale == 4
    for like in (None, 'like'):
        assert np.allclose(restorers.points_in_lr(network, like), LR_POINTS, atol=1e-5)
    ffhq = restorers.points_in_lr(network, 'ffhq')
    assert ffhq.shape == (5, 2) and (np.abs(ffhq.mean(axis=0) - 3.5) < 1.5).all()
    write_checkpoint(folder / 'blind.pth', [{'size': [32, 32]}])
    with pytest.raises(UserError, match='does not say where the points'):
        restorers.points_in_lr(FaceNetwork.open('blind.pth', torch.device('cpu')), None)


def test_a_large_picture_is_fitted_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(5, 200, 310)
    whole = bicubic.imresize_uint8(image, (16, 12))
    monkeypatch.setattr(bicubic, '_WHOLE', 200 * 7)
    strips = bicubic.imresize_uint8(image, (16, 12))
    assert strips.shape == (16, 12, 3) and np.abs(strips.astype(int) - whole).max() <= 1
    assert (strips == whole).mean() > 0.99


def test_the_detector_that_is_there_is_taken_and_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(restorers, 'open_detector', lambda name, *_: opened.append(name) or Fixed())
    monkeypatch.setattr(restorers, 'best_without_download', lambda weights: 'mtcnn' if weights is None else 'given')
    network = FaceNetwork.open('net.pth', torch.device('cpu'))
    with caplog.at_level('INFO'):
        for how in ({}, {'weights': Path('w.pth')}, {'detector': 'mediapipe'}):
            restorers.PhotographFaces(network, restorers.Photographs(**how))
    assert opened == ['mtcnn', 'given', 'mediapipe'] and 'Faces are looked for by mtcnn.' in caplog.text


@pytest.mark.parametrize(('place', 'option'), [('out', '-o'), ('faces', '--save-faces')])
def test_a_file_in_the_place_of_a_folder_is_found_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str], place: str, option: str
) -> None:
    written(folder / 'lr' / 'deep', {'a.png': png(picture(5, 8, 8))})
    (folder / place).mkdir()
    (folder / place / 'deep').write_text('mine')
    said = refused(capsys, '--recursive', '--save-faces', 'faces', 'lr')
    assert f"{option} {place}: '{place}/deep' is a file; a folder is needed" in said
    assert not (folder / 'out').exists() or [file.name for file in (folder / 'out').iterdir()] == ['deep']
