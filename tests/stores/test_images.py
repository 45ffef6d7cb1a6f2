"""The one reader of images: names, headers, damage and alpha."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from fsr_plugins import images
from fsr_plugins.errors import UserError
from fsr_plugins.images import decode_composed, decode_image, decode_labels, look_at, read_image, shown
from fsr_plugins.restore.pictures import decode

PIXELS = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8), (5, 5), 0)


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def lying_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(99))) + chunk(b'IEND', b'')
    )


def test_a_name_that_is_not_utf8_is_read_and_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/\xff\xfe.png'))
    path.write_bytes(encoded(Image.fromarray(PIXELS), 'PNG'))
    assert np.array_equal(read_image(path), PIXELS)
    path.write_bytes(b'broken')
    with pytest.raises(UserError, match=r'\\xff\\xfe\.png.*cannot be decoded'):
        read_image(path)
    assert shown(tmp_path / 'ä') == str(tmp_path / 'ä')


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'BMP', 'WEBP', 'TIFF', 'PPM', 'GIF'])
def test_headers_say_what_is_decoded(kind: str) -> None:
    data = encoded(Image.fromarray(PIXELS), kind)
    header = look_at(data, 'x')
    assert (header.kind, header.shape, header.bits, header.alpha) == (kind, (20, 30), 8, False)
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decode_image(data, 'x'), plain) and plain.shape == (20, 30, 3)
    assert np.array_equal(decode_image(memoryview(data), 'x'), plain)
    for place in range(0, len(data) - 1, max(1, len(data) // 40)):
        try:
            decode_image(data[:place], 'cut')
        except UserError as error:
            assert "'cut'" in str(error)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_the_header_knows_how_the_image_is_turned(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(PIXELS), kind, exif=exif)
    header = look_at(data, 'x')
    assert header.orientation == orientation and header.shape == decode_image(data, 'x').shape[:2]


@pytest.mark.parametrize(
    ('side', 'said'), [(60_000, 'claims 60000x60000'), (14_000, 'more than its .* bytes can hold')]
)
def test_a_header_that_lies_costs_neither_memory_nor_time(tmp_path: Path, side: int, said: str) -> None:
    (tmp_path / 'lie.png').write_bytes(lying_png(side, side))
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    with pytest.raises(UserError, match=rf'lie\.png.*{said}'):
        read_image(tmp_path / 'lie.png')
    assert psutil.Process().memory_info().rss - before < 50 << 20 and time.perf_counter() - started < 1


def test_what_is_no_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'loop.png').symlink_to('loop.png')
    for name, said in (
        ('pipe', 'no file'),
        ('folder', 'is a folder'),
        ('loop', 'cannot be read'),
        ('none', 'cannot be read'),
        ('x' * 300, 'cannot be read'),
        ('\0', 'cannot be read'),
    ):
        with pytest.raises(UserError, match=said):
            read_image(tmp_path / f'{name}.png')
    monkeypatch.setattr(images, 'MAX_BYTES', 10)
    (tmp_path / 'large.png').write_bytes(bytes(11))
    with pytest.raises(UserError, match='11 bytes'):
        read_image(tmp_path / 'large.png')


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'TIFF', 'LA', 'palette'])
def test_alpha_is_laid_over_a_ground(kind: str) -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 10:20], alpha[:, 20:] = 128, 255
    if kind == 'palette':
        data = encoded(Image.fromarray(PIXELS).quantize(16), 'PNG', transparency=3)
        rgba = np.array(Image.open(io.BytesIO(data)).convert('RGBA'))
    elif kind == 'LA':
        rgba = np.dstack([PIXELS[..., :1]] * 3 + [alpha])
        data = encoded(Image.fromarray(np.dstack([PIXELS[..., 0], alpha]), 'LA'), 'PNG')
    else:
        rgba = np.dstack([PIXELS, alpha])
        more = {'lossless': True, 'exact': True} if kind == 'WEBP' else {}
        data = encoded(Image.fromarray(rgba, 'RGBA'), kind, **more)
    assert look_at(data, 'x').alpha
    for ground in ((0, 0, 0), (255, 255, 255)):
        share = rgba[..., 3:] / 255
        expected = rgba[..., :3] * share + np.array(ground) * (1 - share)
        assert np.abs(decode_composed(data, 'x', ground) - expected).max() <= 0.51


def test_a_chunk_that_claims_more_than_there_is_costs_no_memory() -> None:
    data = bytearray(cv2.imencode('.png', np.zeros((40, 40, 3), np.uint8))[1].tobytes())
    struct.pack_into('>I', data, 33, 0x7F0001F3)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="'x' cannot be decoded as an image"):
            decode_image(bytes(data), 'x')
        # OpenCV's own memory is not seen here: it is not asked at all.
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not features.check('avif'), reason='this Pillow writes no AVIF')
@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_an_avif_is_turned_as_it_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(PIXELS), 'AVIF', exif=exif, quality=100, subsampling='4:4:4')
    expected = np.rot90(PIXELS, {1: 0, 3: 2, 6: -1}[orientation])
    found = decode_image(data, 'x')
    assert look_at(data, 'x').shape == found.shape[:2] == expected.shape[:2]
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize('orientation', [3, 6])
@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_alpha_lies_where_its_colours_do_whatever_xmp_says(kind: str, orientation: int) -> None:
    rgba = np.zeros((6, 8, 4), np.uint8)
    rgba[:3, :4] = 255
    xmp = f'<rdf:Description tiff:Orientation="{orientation}"/>'
    info = PngInfo()
    info.add_itxt('XML:com.adobe.xmp', xmp)
    more = {'pnginfo': info} if kind == 'PNG' else {'lossless': True, 'xmp': xmp.encode()}
    data = encoded(Image.fromarray(rgba), kind, **more)
    colours, extras = decode(data, 'x', True)
    assert extras.alpha is not None and (extras.alpha == colours[..., 0]).all() and extras.alpha[0, 0] == 255
    assert (decode_composed(data, 'x', (0, 0, 0)) == rgba[..., :3]).all()


def test_labels_of_a_palette_are_its_numbers_unless_it_is_grey() -> None:
    labels = np.arange(19, dtype=np.uint8)[None].repeat(2, axis=0)
    coloured, grey = (Image.fromarray(labels, 'P') for _ in range(2))
    coloured.putpalette([value for number in range(19) for value in (number * 13, 255 - number, number * 7)])
    # As a program that makes PNGs smaller may write a grey one.
    grey.putpalette([18 - number for number in range(19) for _ in range(3)])
    assert (decode_labels(encoded(coloured, 'PNG'), 'x') == labels).all()
    assert (decode_labels(encoded(grey, 'PNG'), 'x') == 18 - labels).all()


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'WEBP', 'PPM'])
def test_labels_that_were_drawn_in_colours_are_refused(kind: str) -> None:
    labels = np.arange(19, dtype=np.uint8)[None].repeat(8, axis=0)
    how = {'lossless': True} if kind == 'WEBP' else {}
    grey = Image.fromarray(np.dstack([labels, labels, labels]))
    assert (decode_labels(encoded(grey, kind, **how), 'x') == labels).all()
    coloured = Image.fromarray(np.dstack([labels, 18 - labels, labels]))
    with pytest.raises(UserError, match="'x' is a picture of colours, not of labels"):
        decode_labels(encoded(coloured, kind, **how), 'x')


def test_levels_of_a_netpbm_file_are_shares_of_its_brightest_and_labels_as_they_are() -> None:
    assert decode_image(b'P6 2 1 15\n' + bytes([15, 0, 15, 5, 5, 5]), 'x').tolist() == [[[255, 0, 255], [85, 85, 85]]]
    assert decode_image(b'P5 2 1 17\n' + bytes([17, 0]), 'x')[..., 0].tolist() == [[255, 0]]
    assert decode_labels(b'P5 2 1 18\n' + bytes([18, 9]), 'x').tolist() == [[18, 9]]
    with pytest.raises(UserError, match="'cut' cannot be decoded"):
        decode_image(b'P6 2 2 15\n' + bytes(3), 'cut')
