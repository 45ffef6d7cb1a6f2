"""The built-in faces: reproducible, correctly labelled, detailed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256

import cv2
import numpy as np
import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.portraits import DOMAINS, IMAGES_PER_PERSON, RENDERER_VERSION, Portrait, iterate, render
from fsr_plugins.portraits.people import draw_person

SIZES = {name: 16 if domain.camera else 64 for name, domain in DOMAINS.items()}


@pytest.fixture(scope='module')
def studio() -> list[Portrait]:
    """One picture of each of 20 people."""
    return render('studio', 'train', range(3, 20 * IMAGES_PER_PERSON, IMAGES_PER_PERSON), 128, seed=5)


def digest(faces: list[Portrait]) -> str:
    """A checksum of everything that belongs to the faces."""
    total = sha256()
    for face in faces:
        for part in (face.image, face.landmarks, face.parsing):
            if part is not None:
                total.update(np.ascontiguousarray(part).tobytes())
        total.update(f'{face.key} {face.identity} {sorted(face.meta.items())}'.encode())
    return total.hexdigest()


@pytest.mark.parametrize('domain', DOMAINS)
def test_same_bytes_whatever_the_batch_or_thread(domain: str) -> None:
    size = SIZES[domain]
    whole = digest(render(domain, 'test', range(6, 12), size, seed=3))
    assert digest(list(iterate(domain, 'test', 12, size, seed=3, start=6))) == whole
    with ThreadPoolExecutor(3) as pool:
        single = pool.map(lambda index: render(domain, 'test', [index], size, seed=3)[0], range(6, 12))
        assert digest(list(single)) == whole
    assert digest(render(domain, 'test', range(6, 12), size, seed=4)) != whole


def test_same_bytes_in_another_process() -> None:
    code = (
        'import hashlib; from fsr_plugins.portraits import render\n'
        "for d in ('studio', 'cartoon'):\n"
        "    print(hashlib.sha256(b''.join(f.image.tobytes() for f in render(d, 'val', [9, 2], 16, 1))).hexdigest())"
    )
    other = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    here = [[f.image.tobytes() for f in render(d, 'val', [9, 2], 16, 1)] for d in ('studio', 'cartoon')]
    assert other == [sha256(b''.join(images)).hexdigest() for images in here]


@pytest.mark.parametrize('domain', DOMAINS)
def test_shapes_and_types(domain: str) -> None:
    size = SIZES[domain]
    face = render(domain, 'train', [1], size)[0]
    assert face.key == '000001'
    assert face.image.shape == (size, size, 3) and face.image.dtype == np.uint8 and face.image.flags.c_contiguous
    if face.landmarks is not None:
        assert face.landmarks.shape == (5, 2) and face.landmarks.dtype == np.float32
    if face.parsing is not None:
        assert face.parsing.shape == (size, size) and face.parsing.dtype == np.uint8


def region(face: Portrait, *ids: int) -> np.ndarray:
    assert face.parsing is not None
    return np.isin(face.parsing, ids)


def near(face: Portrait, mark: int, ids: tuple[int, ...], radius: int) -> bool:
    """Whether a pixel of ``ids`` lies within ``radius`` pixels of the landmark ``mark``."""
    assert face.landmarks is not None
    x, y = np.rint(face.landmarks[mark]).astype(int)
    return bool(region(face, *ids)[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].any())


def test_landmarks_lie_in_their_parts(studio: list[Portrait]) -> None:
    for face in studio:
        # Ids name the subject's sides: the eye on the image's left is the right eye, 5. Hair or a frame may hide it.
        assert near(face, 0, (5, 6, 17), 1), face.key
        assert near(face, 1, (4, 6, 17), 1), face.key
        assert near(face, 2, (10,), 0), face.key
        assert near(face, 3, (11, 12, 13), 2) and near(face, 4, (11, 12, 13), 2), face.key


def test_mouth_corners_are_the_lips_ends(studio: list[Portrait]) -> None:
    for face in studio:
        assert face.landmarks is not None
        _, columns = np.nonzero(region(face, 11, 12, 13))
        assert abs(columns.min() - face.landmarks[3, 0]) < 3 and abs(columns.max() - face.landmarks[4, 0]) < 3, face.key


def test_eye_landmarks_are_the_eyes_centres(studio: list[Portrait]) -> None:
    for face in studio:
        assert face.landmarks is not None
        for mark, eye in ((0, 5), (1, 4)):
            rows, columns = np.nonzero(region(face, eye))
            if len(rows) > 12 and not region(face, 6).any() and face.meta['style'] not in ('fringe', 'bob'):
                centre = np.array([columns.mean(), rows.mean()])
                assert np.linalg.norm(centre - face.landmarks[mark]) < 3.5, (face.key, mark)


def test_parsing_is_plausible(studio: list[Portrait]) -> None:
    shares = np.array([np.bincount(face.parsing.ravel(), minlength=19) for face in studio]) / 128**2  # type: ignore[union-attr]
    assert shares.shape[1] == 19
    skin, hair, background = shares[:, 1], shares[:, 17], shares[:, 0]
    assert (skin > 0.08).all() and (skin < 0.5).all()
    assert (background > 0.1).all() and (hair < 0.6).all() and np.median(hair) > 0.08
    for part in (10, 12, 13, 14):
        assert (shares[:, part] > 0.0003).all(), part
    for face in studio:
        rows = {part: np.nonzero(region(face, part))[0].mean() for part in (10, 12, 13, 14)}
        assert rows[10] < rows[12] < rows[13] < rows[14]


def test_parsing_follows_the_colours(studio: list[Portrait]) -> None:
    """Where the map says skin, the picture is redder than green and greener than blue."""
    for face in studio:
        skin = face.image[region(face, 1)].mean(axis=0)
        assert skin[0] > skin[1] > skin[2], face.key


def test_identity() -> None:
    faces = render('studio', 'train', [0, IMAGES_PER_PERSON - 1, IMAGES_PER_PERSON], 64)
    assert faces[0].identity == faces[1].identity != faces[2].identity
    assert not np.array_equal(faces[0].image, faces[1].image)


def test_people_differ_between_splits_and_domains() -> None:
    labels = [
        {face.identity for face in render(domain, split, range(0, 24, 8), 16)}
        for domain in ('studio', 'harsh', 'cartoon', 'real_lr')
        for split in ('train', 'val', 'test')
    ]
    assert sum(map(len, labels)) == len(set().union(*labels))


@pytest.mark.parametrize('camera', ['real_lr', 'real_lr_dark'])
def test_hidden_faces_are_behind_the_small_ones(camera: str) -> None:
    small = render(camera, 'test', range(0, 64, 8), 16)
    hidden = render('real_lr_hidden', 'test', range(0, 64, 8), 64)
    others = hidden[1:] + hidden[:1]

    def likeness(a: Portrait, b: Portrait) -> float:
        reduced = cv2.resize(b.image, (16, 16), interpolation=cv2.INTER_AREA)
        return float(np.corrcoef(a.image.ravel(), reduced.ravel())[0, 1])

    for a, b, other in zip(small, hidden, others, strict=True):
        assert a.identity == b.identity and likeness(a, b) > 0.75 and likeness(a, b) > likeness(a, other)
        assert a.landmarks is not None and b.landmarks is not None
        np.testing.assert_allclose((a.landmarks + 0.5) * 4, b.landmarks + 0.5, atol=1e-3)


@pytest.mark.parametrize(('camera', 'low', 'high'), [('real_lr', 0.98, 1.02), ('real_lr_dark', 0.83, 0.91)])
def test_one_camera_is_neutral_and_the_other_dark(camera: str, low: float, high: float) -> None:
    small = render(camera, 'train', range(0, 320, 8), 16)
    hidden = render('real_lr_hidden', 'train', range(0, 320, 8), 64)
    ratio = np.mean([face.image.mean() for face in small]) / np.mean([face.image.mean() for face in hidden])
    assert low < ratio < high


def test_there_is_detail_to_restore(studio: list[Portrait]) -> None:
    """What bicubic reduction by 4 loses is well above rounding, in skin and hair too."""
    for face in studio:
        gt = face.image.astype(np.float32)
        down = cv2.resize(gt, (32, 32), interpolation=cv2.INTER_AREA)
        lost = np.abs(gt - cv2.resize(down, (128, 128), interpolation=cv2.INTER_CUBIC)).mean(axis=2)
        assert lost[region(face, 17)].mean() > 2.5 or region(face, 17).mean() < 0.05, face.key
        assert lost[region(face, 1)].mean() > 1.0, face.key
        assert lost[region(face, 4, 5)].mean() > 6.0 or region(face, 4, 5).sum() < 12, face.key


def test_harsh_light_is_grey_and_comes_from_where_it_says() -> None:
    faces = render('harsh', 'train', range(0, 160, 5), 64, seed=2)
    balance, azimuths = [], []
    for face in faces:
        assert (face.image[..., 0] == face.image[..., 1]).all() and (face.image[..., 1] == face.image[..., 2]).all()
        assert face.landmarks is not None
        grey, middle = face.image[..., 0].astype(float), face.landmarks[2, 0]
        columns = np.arange(64)[None, :] + np.zeros((64, 1))
        skin = region(face, 1)
        right, left = grey[skin & (columns > middle)].mean(), grey[skin & (columns < middle)].mean()
        balance.append(right - left)
        azimuths.append(face.meta['azimuth'])
    assert np.corrcoef(balance, azimuths)[0, 1] > 0.7
    assert min(azimuths) < -45 and max(azimuths) > 45


def test_harsh_faces_under_one_light_are_the_same_faces() -> None:
    free, lit = (render('harsh', 'train', range(6), 48, seed=2, light=light) for light in (None, (-70, 10)))
    assert {(face.meta['azimuth'], face.meta['elevation']) for face in lit} == {(-70.0, 10.0)}
    for one, other in zip(free, lit, strict=True):
        assert one.landmarks is not None and other.landmarks is not None and other.parsing is not None
        assert np.array_equal(one.landmarks, other.landmarks) and np.array_equal(one.parsing, other.parsing)
        left = np.arange(48)[None, :] < other.landmarks[2, 0]
        grey, skin = other.image[..., 0].astype(float), region(other, 1)
        assert grey[skin & left].mean() > 2 * grey[skin & ~left].mean()
    with pytest.raises(UserError, match="Only the domain 'harsh'"):
        render('studio', 'train', [0], 48, light=(0, 0))


def test_cartoons_keep_hair_and_change_expression() -> None:
    faces = render('cartoon', 'train', range(0, 24), 64)
    assert {face.meta['style'] for face in faces} <= {'avataaars', 'lorelei', 'notionists', 'open-peeps'}
    assert len({face.image.tobytes() for face in faces}) == 24
    for person in range(3):
        assert len({face.meta['style'] for face in faces[8 * person : 8 * person + 8]}) == 1


@pytest.mark.parametrize(
    ('domain', 'split', 'index', 'size', 'says'),
    [
        ('studo', 'train', 0, 64, "'studio'"),
        ('studio', 'tran', 0, 64, "'train'"),
        ('studio', 'train', -1, 64, 'numbered from 0'),
        ('studio', 'train', 0, 2, "'size'"),
    ],
)
def test_wrong_input_is_named(domain: str, split: str, index: int, size: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        render(domain, split, [index], size)


@pytest.mark.parametrize(
    ('number', 'style', 'sums', 'texture'),
    [
        (10, 'crop', (11.04011408590664, 170.60390107199757), (473.1273789125766, 324.5283083437106)),
        (15, 'crop', (12.397139399324777, 189.12029729970604), (239.71140280922134, 495.3151338449669)),
        (11, 'wavy', (12.158501271249934, 188.92373170610367), (457.1542273523009, 336.2613246657873)),
    ],
)
def test_people_are_those_of_this_version_of_the_renderer(
    number: int, style: str, sums: tuple[float, float], texture: tuple[float, float]
) -> None:
    """Who draws in another order raises ``RENDERER_VERSION``; the last draw depends on all before."""
    person = draw_person(7, 1, number)
    values = np.array([value for value in asdict(person).values() if isinstance(value, float)])
    assert RENDERER_VERSION == 4 and person.style == style
    np.testing.assert_allclose([values.sum(), values @ np.arange(len(values))], sums, rtol=1e-9)
    np.testing.assert_allclose(person.texture, texture, rtol=1e-9)
