"""``fsr prepare ls3dw``, and torch7's tensors, on files packed as torch7's own are."""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, report, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.ls3dw import five_of_68, prepare_ls3dw
from fsr_plugins.prepare.t7 import read_tensor
from fsr_plugins.stores.opening import open_store


def t7(values: np.ndarray, sizes: tuple[int, ...] = (), strides: tuple[int, ...] = (), first: int = 1) -> bytes:
    """A file of torch7 with a tensor of these numbers; sizes and strides may lie."""
    kind = {'f4': b'Float', 'f8': b'Double'}[values.dtype.str[1:]]
    sizes = sizes or values.shape
    strides = strides or tuple(np.array(values.strides) // values.itemsize)

    def opened(number: int, name: bytes) -> bytes:
        return struct.pack('<iii', 4, number, 3) + b'V 1' + struct.pack('<i', len(name)) + name

    shape = struct.pack(f'<i{len(sizes)}q{len(strides)}qq', len(sizes), *sizes, *strides, first)
    content = struct.pack('<q', values.size) + values.tobytes()
    return opened(1, b'torch.' + kind + b'Tensor') + shape + opened(2, b'torch.' + kind + b'Storage') + content


def face(left: float, top: float, extent: float, dimensions: int = 2) -> np.ndarray:
    """68 points whose outline is a square: corners and whatever lies between."""
    points = np.random.default_rng(0).uniform(0, extent, (68, dimensions))
    points[0, :2], points[16, :2] = 0, extent
    points[:, :2] += left, top
    return points


IMAGES = {number: picture(number, 140, 150) for number in (2, 10, 7)}
POINTS = {2: face(30, 40, 50), 10: face(100, 20, 60, 3).astype(np.float32), 7: face(20.25, 30.5, 40)}


def files() -> dict[str, bytes]:
    found = {}
    for number, image in IMAGES.items():
        found[f'LS3D-W-balanced-20-03-2017/new_dataset/{number}.jpg'] = png(image)
        found[f'LS3D-W-balanced-20-03-2017/new_dataset/{number}.t7'] = t7(POINTS[number])
    return found


@pytest.mark.parametrize('src', ['set.zip', 'set'])
def test_squares_round_the_points(tmp_path: Path, src: str) -> None:
    done = prepare_ls3dw(written(tmp_path / src, files()), tmp_path / 'out.lmdb')
    assert (done.images, done.left_out) == (3, 0)
    store = open_store(tmp_path / 'out.lmdb')
    assert list(store.keys) == ['000002', '000007', '000010'] and store.landmarks is not None
    # 50 * 1.8 = 90 round (55.5, 65.5), half way between pixels' edges: Python rounds to the even number.
    cut = IMAGES[2][20:110, 10:100]
    assert np.abs(store.image('000002') - reduced(cut, 64)).max() <= 0.51
    expected = (POINTS[2][30] - [10, 20] + 0.5) * 64 / 90 - 0.5
    np.testing.assert_allclose(store.landmarks[0, 2], expected, atol=1e-4)
    # 60 * 1.8 = 108 round (130.5, 50.5): rows -4 to 104, columns 76 to 184 of 150.
    cut = np.pad(IMAGES[10][:104, 76:], ((4, 0), (0, 34), (0, 0)), 'edge')
    assert np.abs(store.image('000010') - reduced(cut, 64)).max() <= 0.51


def test_five_of_68() -> None:
    points = np.zeros((68, 2))
    points[36:42] = [[10, 20], [12, 18], [14, 18], [16, 20], [14, 22], [12, 22]]
    points[42:48] = points[36:42] + [30, 0]
    points[30], points[48], points[54] = [28, 35], [18, 45], [38, 46]
    assert five_of_68(points).tolist() == [[13, 20], [43, 20], [28, 35], [18, 45], [38, 46]]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    top = 'LS3D-W-balanced-20-03-2017/new_dataset/'
    more = {
        f'{top}11.jpg': png(IMAGES[7]),
        f'{top}12.jpg': png(IMAGES[7]),
        f'{top}12.t7': t7(face(0, 0, 40)[:5].copy()),
        f'{top}13.jpg': png(IMAGES[7]),
        f'{top}13.t7': t7(face(0, 0, 40))[:-1],
        f'{top}14.jpg': b'broken',
        f'{top}14.t7': t7(face(0, 0, 40)),
        f'{top}15.jpg': png(IMAGES[7]),
        f'{top}15.t7': t7(face(0, 0, 20)),
        f'{top}16.jpg': png(IMAGES[7]),
        f'{top}16.t7': t7(face(0, np.nan, 40)),
        f'{top}17.jpg': png(IMAGES[7]),
        f'{top}17.t7': t7(face(900, 0, 40)),
    }
    done = prepare_ls3dw(written(tmp_path / 'set.zip', files() | more), tmp_path / 'out')
    assert done.images == 3
    assert done.skipped == {'bad box': 1, 'corrupt': 1, 'no landmarks': 4, 'too small': 1}
    details = {Path(entry['name']).stem: entry['detail'] for entry in report(tmp_path / 'out')['images']}
    assert 'is not there' in details['11'] and '(5, 2)' in details['12'] and 'cut short' in details['13']
    assert 'has 36 pixels' in details['15']
    with pytest.raises(UserError, match='is not LS3D-W balanced'):
        prepare_ls3dw(written(tmp_path / 'other', {'1.jpg': png(IMAGES[2])}), tmp_path / 'none')


#: The first bytes and numbers of a file that torch7 wrote: a DoubleTensor of 2x3.
REAL = bytes.fromhex(
    '04000000 01000000 03000000 56203112 000000 746f7263682e446f75626c6554656e736f72 02000000 0200000000000000'
    '0300000000000000 0300000000000000 0100000000000000 0100000000000000 04000000 02000000 03000000 562031'
    '13000000 746f7263682e446f75626c6553746f72616765 0600000000000000 000000000000f03f 0000000000000040'
    '0000000000000840 0000000000001040 0000000000001440 9a99999999991b40'
)


def test_tensors_of_torch7() -> None:
    assert read_tensor(REAL).tolist() == [[1, 2, 3], [4, 5, 6.9]]
    values = np.arange(24, dtype=np.float32)
    # Every second column of 4x6, from the second one.
    assert np.array_equal(read_tensor(t7(values, (4, 3), (6, 2), 2)), values.reshape(4, 6)[:, 1::2])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'no tensor'),
        (struct.pack('<id', 1, 3.0), 'no tensor'),
        (struct.pack('<iii', 4, 1, 1 << 30), 'cut short'),
        (struct.pack('<iii', 4, 1, -5), 'cut short'),
        (REAL.replace(b'torch.DoubleTensor', b'torch.ShortyTensor'), 'ShortyTensor'),
        (REAL.replace(b'torch.DoubleStorage', b'torch.FloatStorage_'), 'FloatStorage_'),
        (t7(np.zeros(4), (5,), (1,)), 'beyond'),
        (t7(np.zeros(4), (2,), (1,), 4), 'beyond'),
        (t7(np.zeros(4), (2,), (1,), 0), 'beyond'),
        (t7(np.zeros(4), (4,), (-1,)), 'beyond'),
        (t7(np.zeros(4), (1 << 40,), (0,)), 'beyond'),
        (t7(np.zeros(4000), (1500, 1500), (1, 1)), 'beyond'),
        (t7(np.zeros(4), (1,) * 9, (1,) * 9), '9 dimensions'),
        (REAL[:-1], 'cut short'),
    ],
)
def test_what_is_no_tensor_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tensor(content)


def test_on_the_command_line(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    PREPARERS['ls3dw'].add_arguments(parser)
    src = str(written(tmp_path / 'set.zip', files()))
    args = parser.parse_args([src, str(tmp_path / 'o'), '--size', '32', '--margin', '0.1'])
    assert PREPARERS['ls3dw'].run(args).images == 3
    assert open_store(tmp_path / 'o').image('000002').shape == (32, 32, 3)
    with pytest.raises(UserError, match='do not fit'):
        PREPARERS['ls3dw'].run(parser.parse_args([src, str(tmp_path / 'p'), '--size', '0']))
