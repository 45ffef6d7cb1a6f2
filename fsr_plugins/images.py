"""The one reader of image files: the bytes, then the header, and only then the pixels.

A few bytes may claim gigabytes of pixels, so nothing is decoded before its header has been looked at. Pixels are those
of OpenCV. Whatever goes wrong is a :class:`UserError` that names the file.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL.TiffImagePlugin import TiffImageFile

from fsr_plugins.errors import UserError
from fsr_plugins.orientation import orientation_of, turned

Image = npt.NDArray[np.uint8]

#: Pixels of an image; one that claims more is not decoded. Decoded, it takes three bytes a pixel.
MAX_PIXELS = 200_000_000
#: Bytes of an image file; a larger one is not read.
MAX_BYTES = 1 << 30

# ANYDEPTH keeps 16 bits visible, so that they can be refused: without it OpenCV makes them 8 in silence.
_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
_LABELS = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH

_OPEN = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0)
_PNG, _JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
#: A PNG's beginning: length and name of the first chunk, width, height, bits, colour type, and the second chunk's.
_PNG_BEGINNING = struct.Struct('>8xI4sIIBB3x4xI4s')
_PNG_CHUNK = struct.Struct('>I4s')
#: Channels of a PNG by its colour type.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY, _PALETTE = (0, 4), 3
#: Deflate makes at most so many bytes of one (1,032 by its definition).
_DEFLATE = 1100
#: Markers of a JPEG that say its size.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: What Pillow looks at: kinds that OpenCV decodes and that are not looked at by hand.
_OTHERS = ('BMP', 'DIB', 'WEBP', 'TIFF', 'PPM', 'GIF', 'SUN', 'JPEG2000', 'AVIF')
_TIFF_BITS = 258

# Every failure becomes an error that names the file; OpenCV's own line beside it would say it twice, without a name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# The bound on pixels is ours; and so Pillow's other warnings, of damaged headers.
warnings.filterwarnings('ignore', category=PILImage.DecompressionBombWarning)
warnings.filterwarnings('ignore', category=UserWarning, module=r'PIL\.')


class Header(NamedTuple):
    """What a file says of its image.

    ``kind`` is Pillow's name of the format; ``height`` and ``width`` are those of the stored pixels; ``bits`` are those
    of a channel; ``orientation`` is Exif's, 1 to 8, of which 5 and more exchange the sides.
    """

    kind: str
    height: int
    width: int
    bits: int = 8
    alpha: bool = False
    orientation: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the decoded image, turned as Exif says."""
        return (self.width, self.height) if self.orientation > 4 else (self.height, self.width)


def shown(path: Path | str) -> str:
    """A path for messages: bytes that are not UTF-8 are written as ``\\xff``."""
    text = str(path)
    return text if text.isascii() else os.fsencode(text).decode('utf-8', 'backslashreplace')


def read_bytes(path: Path | str) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it is not there, cannot be read, is no regular file, or has more than :data:`MAX_BYTES`.
    """
    try:
        # A pipe would let its reader wait for ever.
        descriptor = os.open(path, _OPEN)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise UserError(f"'{shown(path)}' is a folder, and a file of an image is needed.")
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"'{shown(path)}' is no file of an image: remove it.")
            if status.st_size > MAX_BYTES:
                raise UserError(f"'{shown(path)}' has {status.st_size} bytes, more than the {MAX_BYTES} that are read.")
            data = os.read(descriptor, status.st_size)
            while len(data) < status.st_size and (more := os.read(descriptor, status.st_size - len(data))):
                data += more
            return data
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise UserError(f"'{shown(path)}' cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def pixels_claimed(path: Path) -> int:
    """How many pixels the header of a file claims, without reading on; 0 where it says nothing.

    Only for an order of files: :func:`look_at` is strict.
    """
    if not path.is_file():  # a pipe would never end
        return 0
    try:
        with PILImage.open(path) as image:
            return image.width * image.height
    except Exception:  # of whatever kind: the bytes are anybody's, and Pillow's readers raise all kinds
        return 0


def look_at(data: bytes | memoryview, what: str) -> Header:
    """The header of encoded bytes; nothing is decoded.

    Args:
        what: names them in a UserError.

    Raises:
        UserError: they are no image, or claim more pixels than :data:`MAX_PIXELS` or than they can hold.
    """
    try:
        if data[:8] == _PNG:
            header = _png_header(data, what)
        elif data[:3] == _JPEG:
            header = _jpeg_header(data)
        else:
            header = _other_header(data)
    except UserError:
        raise
    except PILImage.DecompressionBombError as error:
        raise UserError(f"'{what}' claims more than the {MAX_PIXELS} pixels that are read: reduce it first.") from error
    except Exception as error:  # of whatever kind: the bytes are anybody's, and Pillow's readers raise all kinds
        raise _undecodable(what) from error
    pixels = header.height * header.width
    if pixels < 1:
        raise _undecodable(what)
    if pixels > MAX_PIXELS:
        raise UserError(
            f"'{what}' claims {header.width}x{header.height} pixels, more than the {MAX_PIXELS} that are read: "
            'reduce it first.'
        )
    return header


def _png_header(data: bytes | memoryview, what: str) -> Header:
    length, name, width, height, bits, colour, following, then = _PNG_BEGINNING.unpack_from(data)
    if name != b'IHDR' or length != 13:
        raise ValueError('no IHDR')
    pixels = height * width
    if pixels * bits * _PNG_CHANNELS[colour] > 8 * _DEFLATE * len(data) and pixels <= MAX_PIXELS:
        raise UserError(
            f"'{what}' claims {width}x{height} pixels, more than its {len(data)} bytes can hold: it is damaged; "
            'replace or remove it.'
        )
    alpha, orientation, place = colour > 3, 1, 33
    # To the end: of a chunk that claims more bytes than there are OpenCV makes gigabytes.
    while then != b'IEND':
        if then == b'tRNS':
            alpha = True
        elif then == b'eXIf':
            orientation = orientation_of(bytes(data[place + 8 : place + 8 + following]))
        place += 12 + following
        following, then = _PNG_CHUNK.unpack_from(data, place)
    return Header('PNG', height, width, bits, alpha, orientation)


def _jpeg_header(data: bytes | memoryview) -> Header:
    place, orientation = 2, 1
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        length = struct.unpack_from('>H', data, place + 2)[0]
        if marker in _FRAMES:
            bits, height, width = struct.unpack_from('>BHH', data, place + 4)
            return Header('JPEG', height, width, bits, False, orientation)
        if marker == 0xE1 and data[place + 4 : place + 10] == b'Exif\0\0':
            orientation = orientation_of(bytes(data[place + 4 : place + 2 + length]))
        place += 2 + length
    raise ValueError('no frame')


def _other_header(data: bytes | memoryview) -> Header:
    with PILImage.open(io.BytesIO(data), formats=_OTHERS) as image:
        width, height = image.size
        bits = {'1': 1, 'I': 32, 'F': 32}.get(image.mode, 16 if image.mode.startswith('I;16') else 8)
        if isinstance(image, TiffImageFile):
            said = image.tag_v2.get(_TIFF_BITS, bits)
            bits = max(said) if isinstance(said, tuple) else int(said)
        alpha = image.mode in ('RGBA', 'RGBa', 'LA', 'La', 'PA') or 'transparency' in image.info
        # Pillow has turned the sides of a TIFF already; of the others only WebP and AVIF are turned.
        orientation = orientation_of(image.info.get('exif', b'')) if image.format in ('WEBP', 'AVIF') else 1
        return Header(str(image.format), height, width, bits, alpha, orientation)


def decode_image(data: bytes | memoryview, what: str) -> Image:
    """Encoded bytes as uint8 HWC RGB; grey is repeated, alpha dropped. ``what`` names them in a UserError.

    Raises:
        UserError: as :func:`look_at`; or they do not decode, or have more than 8 bits a channel.
    """
    return _decoded(data, _COLOUR, what)


def decode_labels(data: bytes | memoryview, what: str) -> Image:
    """Encoded bytes as uint8 HW, such as a parsing map; of a PNG with a palette of colours their numbers.

    Raises as :func:`decode_image`, and where pixels are colours, whose brightness would be no label.
    """
    labels = _decoded(data, _LABELS, what)
    colours_of_png = data[25] if data[:8] == _PNG else None
    if colours_of_png in _GREY:
        return labels
    if colours_of_png != _PALETTE:
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), _COLOUR)
        if rgb is not None and (rgb != rgb[..., :1]).any():
            raise UserError(f"'{what}' is a picture of colours, not of labels: give their numbers, as a grey image.")
        return labels
    try:
        with PILImage.open(io.BytesIO(data), formats=('PNG',)) as image:
            colours = np.array(image.getpalette('RGB'), np.uint8).reshape(-1, 3)
            numbers = np.array(image, np.uint8)
    except Exception as error:  # as in look_at
        raise _undecodable(what) from error
    return labels if (colours == colours[:, :1]).all() else turned(numbers, look_at(data, what).orientation)


def decode_composed(data: bytes | memoryview, what: str, ground: tuple[int, int, int]) -> Image:
    """Encoded bytes with alpha as uint8 HWC RGB, laid over a ground of one colour. Raises as :func:`decode_image`.

    Colours under alpha 0 are whatever the program that wrote them left there; they never show.
    """
    header = _eight_bits(data, what)
    try:
        with PILImage.open(io.BytesIO(data), formats=('PNG', *_OTHERS)) as image:
            rgba = turned(np.array(image.convert('RGBA'), np.uint8), header.orientation)
    except Exception as error:  # as in look_at
        raise _undecodable(what) from error
    alpha = rgba[..., 3:].astype(np.uint16)
    under = np.array(ground, np.uint16) * (255 - alpha)
    return ((rgba[..., :3] * alpha + under + 127) // 255).astype(np.uint8)


def read_image(path: Path | str) -> Image:
    """The image file as uint8 HWC RGB. Raises as :func:`read_bytes` and :func:`decode_image`."""
    return _decoded(read_bytes(path), _COLOUR, shown(path))


def read_labels(path: Path | str) -> Image:
    """The image file as uint8 HW. Raises as :func:`read_image`."""
    return decode_labels(read_bytes(path), shown(path))


def _decoded(data: bytes | memoryview, flags: int, what: str) -> Image:
    header = _eight_bits(data, what)
    try:
        if header.kind == 'PPM' and flags == _COLOUR:  # OpenCV takes its brightest level for 255, whatever that is
            with PILImage.open(io.BytesIO(data), formats=('PPM',)) as opened:
                return np.array(opened.convert('RGB'), np.uint8)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except Exception as error:  # as in look_at
        raise _undecodable(what) from error
    if image is None:
        raise _undecodable(what)
    if image.dtype != np.uint8:
        raise _too_deep(image.dtype.itemsize * 8, what)
    # OpenCV turns all kinds but this one.
    return turned(image, header.orientation) if header.kind == 'AVIF' else image


def _eight_bits(data: bytes | memoryview, what: str) -> Header:
    if (header := look_at(data, what)).bits > 8:
        raise _too_deep(header.bits, what)
    return header


def _too_deep(bits: int, what: str) -> UserError:
    return UserError(f"'{what}' has {bits} bits a channel; only 8 bits a channel are read: convert it first.")


def _undecodable(what: str) -> UserError:
    return UserError(
        f"'{what}' cannot be decoded as an image: it is damaged or of another format; replace or remove it."
    )
