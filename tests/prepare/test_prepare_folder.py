"""``fsr prepare folder``: pictures of any names and sizes, with a detector that reads its answers from the pictures."""

from __future__ import annotations

import argparse
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from prepared import picture, png, reduced, report, written

from fsr_plugins import faces
from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection
from fsr_plugins.prepare import PREPARERS, Prepared
from fsr_plugins.prepare.folder import keys_of, prepare_folder
from fsr_plugins.stores.opening import open_store

WIDE, HIGH, TINY = picture(0, 60, 91), picture(1, 80, 50), picture(2, 20, 40)


def files() -> dict[str, bytes]:
    return {
        'Ada L./party.1.PNG': png(WIDE),
        'Ada L./b.jpg': png(HIGH),
        'Grace/deep/x y.webp': png(WIDE),
        'tiny.png': png(TINY),
        'broken.jpg': b'broken',
        'notes.txt': b'no picture',
        '.hidden/a.png': png(HIGH),
        '__MACOSX/Grace/._x.png': b'x',
    }


def run(*command: object) -> Prepared:
    parser = argparse.ArgumentParser()
    PREPARERS['folder'].add_arguments(parser)
    return PREPARERS['folder'].run(parser.parse_args(list(map(str, command))))


@pytest.mark.parametrize('src', ['set.zip', 'set'])
def test_centre_squares(tmp_path: Path, src: str) -> None:
    done = run(written(tmp_path / src, files()), tmp_path / 'out', '--size', 48)
    assert (done.images, done.identities) == (2, 0)
    assert done.skipped == {'corrupt': 1, 'duplicate': 1, 'too small': 1}
    store = open_store(tmp_path / 'out')
    assert list(store.keys) == ['Ada_L_b', 'Ada_L_party_1']
    assert np.abs(store.image('Ada_L_party_1') - reduced(WIDE[:, 15:75], 48)).max() <= 0.51
    assert np.abs(store.image('Ada_L_b') - reduced(HIGH[15:65], 48)).max() <= 0.51
    twin = next(entry for entry in report(tmp_path / 'out')['images'] if entry['reason'] == 'duplicate')
    assert (twin['name'], twin['detail']) == ('Grace/deep/x y.webp', "has the pixels of 'Ada_L_party_1'")


def test_whole_pictures_and_people(tmp_path: Path) -> None:
    src = written(tmp_path / 'set', files())
    done = run(src, tmp_path / 'o.lmdb', '--crop', 'none', '--person-from-folder', '--keep-duplicates')
    assert (done.images, done.identities, done.skipped) == (4, 3, {'corrupt': 1})
    store = open_store(tmp_path / 'o.lmdb')
    assert np.array_equal(store.image('tiny'), TINY) and np.array_equal(store.image('Grace_deep_x_y'), WIDE)
    # By path: '.', 'Ada L.', 'Grace/deep'.
    assert store.identities is not None
    assert dict(zip(store.keys, store.identities.tolist(), strict=True)) == {
        'Ada_L_b': 1, 'Ada_L_party_1': 1, 'Grace_deep_x_y': 2, 'tiny': 0
    }  # fmt: skip
    with pytest.raises(UserError, match='size 32 does not fit'):
        run(src, tmp_path / 'none', '--crop', 'none', '--size', '32')


def test_keys() -> None:
    names = ['a/b.jpg', 'a/b.png', 'a_b.jpg', 'a/b_2.jpg', '../../ä ö/ü.jpg', '....jpg', 'x' * 300 + '1.png']
    keys = keys_of([*names, 'x' * 300 + '2.png', 'é' * 150 + '.png'])
    assert sorted(keys.values()) == sorted([*names, 'x' * 300 + '2.png', 'é' * 150 + '.png'])
    # In the order of paths; a number that is taken is passed over.
    assert [key for key in keys if key.startswith('a')] == ['a_b', 'a_b_2', 'a_b_2_2', 'a_b_3']
    assert (keys['a_b'], keys['a_b_2'], keys['a_b_2_2']) == ('a/b.jpg', 'a/b.png', 'a/b_2.jpg')
    assert keys['ä_ö_ü'] == '../../ä ö/ü.jpg' and keys['_'] == '....jpg'
    assert all(len(key.encode()) <= 213 and not set('./ ') & set(key) for key in keys)


def test_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='is not a collection of pictures'):
        prepare_folder(written(tmp_path / 'set.zip', {'a.txt': b'x'}), tmp_path / 'out')


@pytest.mark.parametrize('dst', ['set/out', 'set/Grace/out.lmdb', 'set', 'link/out'])
def test_nothing_is_written_among_what_is_prepared(tmp_path: Path, dst: str) -> None:
    written(tmp_path / 'set', files())
    (tmp_path / 'link').symlink_to('set')
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(UserError, match='whose pictures are prepared: write elsewhere'):
        run(tmp_path / 'set', tmp_path / dst)
    assert sorted(tmp_path.rglob('*')) == before
    assert run(tmp_path / 'set', tmp_path / 'set_out', '--size', 48).images == 2


def test_links_are_not_followed(tmp_path: Path) -> None:
    src = written(tmp_path / 'set', {'a.png': png(HIGH)})
    (src / 'b.png').symlink_to(src / 'a.png')
    assert prepare_folder(src, tmp_path / 'out', size=32).skipped == {'link': 1}


def transparent(hidden: int, alpha: int = 0) -> bytes:
    """A picture of 32×32 whose left half has an alpha, and under it a colour."""
    rgba = np.dstack([picture(4, 32, 32)[..., ::-1], np.full((32, 32), 255, np.uint8)])
    rgba[:, :16] = (hidden, hidden, hidden, alpha)
    return cv2.imencode('.png', rgba)[1].tobytes()


def test_alpha_is_laid_over_a_ground_that_is_stated(tmp_path: Path) -> None:
    files = {'a.png': transparent(200, 60), 'b.png': transparent(200, 190), 'c.png': transparent(77)}
    src = written(tmp_path / 'set', files | {'d.png': transparent(200), 'e.png': png(HIGH)})
    done = run(src, tmp_path / 'out', '--size', 32)
    # What differs in alpha alone is no duplicate; what differs in hidden colours alone is one.
    assert (done.images, done.skipped) == (4, {'duplicate': 1})
    store = open_store(tmp_path / 'out')
    assert [int(store.image(key)[0, 0, 0]) for key in ('a', 'b', 'c')] == [47, 149, 0]
    assert store.manifest.origin is not None and store.manifest.origin.protocol['ground'] == 'black'
    run(src, tmp_path / 'white', '--size', 32, '--ground', 'white')
    store = open_store(tmp_path / 'white')
    assert [int(store.image(key)[0, 0, 0]) for key in ('a', 'b', 'c')] == [242, 214, 255]
    assert store.manifest.origin is not None and store.manifest.origin.protocol['ground'] == 'white'


def test_a_ground_that_is_not_needed_is_not_mentioned(tmp_path: Path) -> None:
    run(written(tmp_path / 'set', {'a.png': png(HIGH)}), tmp_path / 'out', '--size', 32)
    origin = open_store(tmp_path / 'out').manifest.origin
    assert origin is not None and origin.protocol == {'crop': 'centre', 'size': 32}


def test_the_ground_is_known_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = written(tmp_path / 'set', {'a.png': transparent(200), 'b.png': png(HIGH)})

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('fsr_plugins.prepare.carry_out._assemble', stopped)
        run(src, tmp_path / 'out', '--size', 32)
    run(src, tmp_path / 'out', '--size', 32)
    origin = open_store(tmp_path / 'out').manifest.origin
    assert origin is not None and origin.protocol['ground'] == 'black'


def test_what_is_not_looked_into_is_said(tmp_path: Path) -> None:
    inner = written(tmp_path / 'inner.zip', {'x.png': png(TINY)})
    files = {'a.png': png(HIGH), 'b.gif': b'GIF', 'deep/more.zip': inner.read_bytes(), 'notes.txt': b''}
    assert run(written(tmp_path / 'set', files), tmp_path / 'out', '--size', 32).skipped == {
        'archive': 1,
        'other kind': 1,
    }


class FakeDetector:
    """Sees what :func:`photograph` has put there: in the first pixels are a number of faces, and of each its place."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        assert self.thread == threading.get_ident()
        return [
            [detection(*image[0, 1 + place].tolist()) for place in range(image[0, 0, 0])] for image in images
        ]  # fmt: skip


def detection(x: int, y: int, half: int) -> Detection:
    """An upright face round (x, y): its box, and FFHQ's points of a square four times as far as the eyes apart."""
    box = np.array([x - half, y - half, x + half, y + half], np.float32)
    points = (faces.ffhq_template(2 * half).numpy() + [x - half, y - half]).astype(np.float32)
    return Detection(box, 0.9, points)


def photograph(seed: int, *places: tuple[int, int, int]) -> np.ndarray:
    image = picture(seed, 200, 250)
    image[0, 0] = len(places)
    for number, place in enumerate(places, 1):
        image[0, number] = place
    return image


GROUP = photograph(5, (60, 70, 20), (150, 110, 40))
ALONE = photograph(6, (240, 180, 32))
NOBODY = photograph(7)


@pytest.fixture
def holiday(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    opened = []

    def open_detector(name: str, weights: Path | None, device: str) -> FakeDetector:
        opened.append((name, weights, device))
        return FakeDetector()

    monkeypatch.setattr(faces, 'open_detector', open_detector)
    pictures = {'group.png': GROUP, 'alone.png': ALONE, 'nobody.png': NOBODY}
    return written(tmp_path / 'holiday', {name: png(image) for name, image in pictures.items()} | {'bad.jpg': b'x'})


def test_faces_by_their_boxes(holiday: Path, tmp_path: Path) -> None:
    done = run(holiday, tmp_path / 'out', '--align', 'box', '--size', 40, '--margin', '0.1')
    assert (done.images, done.skipped) == (3, {'corrupt': 1, 'no face': 1})
    store = open_store(tmp_path / 'out')
    assert list(store.keys) == ['alone_01', 'group_01', 'group_02']
    # The box from pixel 110 to 190: side 80 * 1.2 = 96 round (150.5, 110.5), half way: to the even number.
    assert np.abs(store.image('group_02') - reduced(GROUP[62:158, 102:198], 40)).max() <= 0.51
    assert store.landmarks is not None
    eye = (faces.ffhq_template(80).numpy()[0] + [110 - 102, 70 - 62] + 0.5) * 40 / 96 - 0.5
    np.testing.assert_allclose(store.landmarks[2, 0], eye, atol=1e-4)


def test_sizes_and_the_largest(holiday: Path, tmp_path: Path) -> None:
    done = run(holiday, tmp_path / 'a', '--align', 'box', '--size', 16, '--min-size', '50')
    assert (done.images, done.skipped) == (2, {'corrupt': 1, 'no face': 1, 'too small': 1})
    run(holiday, tmp_path / 'b', '--align', 'box', '--size', 16, '--faces', 'largest')
    assert list(open_store(tmp_path / 'b').keys) == ['alone', 'group']
    assert np.array_equal(open_store(tmp_path / 'a').image('group_02'), open_store(tmp_path / 'b').image('group'))
    done = run(holiday, tmp_path / 'c', '--align', 'box', '--size', 120)
    assert (done.images, done.skipped['too small']) == (1, 2)


def test_faces_as_ffhq_has_them(holiday: Path, tmp_path: Path) -> None:
    done = run(holiday, tmp_path / 'out', '--align', 'ffhq', '--size', 64, '--faces', 'largest')
    assert (done.images, done.skipped) == (1, {'corrupt': 1, 'no face': 1, 'too small': 1})
    store = open_store(tmp_path / 'out')
    expected = faces.align_ffhq(GROUP, detection(150, 110, 40).points, 64)
    assert np.array_equal(store.image('group'), expected) and store.landmarks is not None
    # Upright and in the middle: the face's own template.
    np.testing.assert_allclose(store.landmarks[0], faces.ffhq_template(64).numpy(), atol=1.0)
    assert 'enlarged' in next(each for each in report(tmp_path / 'out')['images'] if 'alone' in each['name'])['detail']


def test_faces_in_the_template_of_112x96(holiday: Path, tmp_path: Path) -> None:
    big = photograph(8, (120, 100, 98))
    cv2.imwrite(str(holiday / 'big.png'), cv2.cvtColor(big, cv2.COLOR_RGB2BGR))
    done = run(holiday, tmp_path / 'out', '--align', '112x96')
    assert (done.images, done.skipped) == (1, {'corrupt': 1, 'no face': 1, 'too small': 3})
    store = open_store(tmp_path / 'out')
    points = detection(120, 100, 98).points
    expected = faces.align_to(big, points, faces.TEMPLATE_112x96, (112, 96))
    assert np.array_equal(store.image('big_01'), expected) and store.landmarks is not None
    np.testing.assert_allclose(store.landmarks[0], faces.TEMPLATE_112x96.numpy(), atol=3)
    with pytest.raises(UserError, match='--size does not fit --align 112x96'):
        run(holiday, tmp_path / 'none', '--align', '112x96', '--size', '64')


def test_local_weights_are_part_of_the_protocol(holiday: Path, tmp_path: Path) -> None:
    (tmp_path / 'w.pth').write_bytes(b'weights')
    command = ['--align', 'box', '--size', 16, '--detector', 'mediapipe', '--weights', tmp_path / 'w.pth']
    run(holiday, tmp_path / 'out', *command)
    origin = open_store(tmp_path / 'out').manifest.origin
    assert origin is not None and origin.protocol['detector'] == 'mediapipe'
    digest = {'w.pth': hashlib.sha256(b'weights').hexdigest()}
    assert origin.protocol['weights'] == digest
    command[command.index('--weights') + 1] = written(tmp_path / 'folder', {'w.pth': b'weights', 'more/x': b''})
    run(holiday, tmp_path / 'again', *command)
    again = open_store(tmp_path / 'again').manifest.origin
    assert again is not None and again.protocol['weights'] == digest
    with pytest.raises(UserError, match='min-size -1'):
        run(holiday, tmp_path / 'none', '--align', 'box', '--min-size', '-1')


def test_an_unknown_detector_is_named(tmp_path: Path) -> None:
    src = written(tmp_path / 'set', files())
    with pytest.raises(UserError, match="No detector is named 'retinaface'"):
        run(src, tmp_path / 'out', '--align', 'box', '--detector', 'retinaface')


def test_without_a_name_the_detector_needs_no_download(
    holiday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for best in ('mediapipe', 'mtcnn'):
        monkeypatch.setattr(faces, 'best_without_download', lambda weights, best=best: best)
        run(holiday, tmp_path / best, '--align', 'box', '--size', 16)
        origin = open_store(tmp_path / best).manifest.origin
        assert origin is not None and origin.protocol['detector'] == best


def test_a_prepared_set_is_refused_since_its_maps_are_no_pictures(tmp_path: Path) -> None:
    run(written(tmp_path / 'set', files()), tmp_path / 'prepared', '--size', 48)
    written(tmp_path / 'prepared' / 'parsing', {'Ada_L_b.png': png(HIGH)})

    with pytest.raises(UserError, match=r"'.*prepared' is a prepared set.*: give '.*prepared/images'"):
        run(tmp_path / 'prepared', tmp_path / 'again', '--size', 24)
    assert run(tmp_path / 'prepared' / 'images', tmp_path / 'again', '--size', 24).images == 2
