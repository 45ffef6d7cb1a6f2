"""A picture with what belongs to it beside its colours: alpha, Exif and colour profile; from a file and to one."""

from __future__ import annotations

import io
import logging
from typing import Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image as PILImage

from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import decode_image, look_at
from fsr_plugins.orientation import turned
from fsr_plugins.stores.images import encode_png

logger = logging.getLogger(__name__)

#: Kinds of result; ``same``: as the input, or PNG where the input is of a kind that is not written.
Extension = Literal['png', 'jpg', 'webp', 'same']
#: By the suffix of a file, Pillow's name and how it is written.
_WRITTEN: dict[str, tuple[str, dict[str, bytes | int]]] = {
    '.png': ('PNG', {}),
    '.jpg': ('JPEG', {'quality': 95, 'subsampling': 0}),
    '.jpeg': ('JPEG', {'quality': 95, 'subsampling': 0}),
    '.webp': ('WEBP', {'quality': 95}),
}
#: Suffixes of files that cannot have alpha.
NO_ALPHA = frozenset({'.jpg', '.jpeg'})
#: Longest side of a WebP and a JPEG.
_LONGEST = {'WEBP': 16383, 'JPEG': 65500}
#: Pillow's names of kinds that hold several pictures.
_OF_SEVERAL = frozenset({'GIF', 'PNG', 'TIFF', 'WEBP'})
_ORIENTATION, _MORE, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
#: Tags of a TIFF that say how its pixels are stored, in strips or tiles; of another file they are wrong.
_LAYOUT = (
    *(0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0115, 0x0116, 0x0117, 0x011C, 0x013D),
    *(0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0201, 0x0202, 0x0211, 0x0212, 0x0213),
    *(0x0214, 0x8773),
)
#: Bytes of the largest Exif of a JPEG, whose segments have 16 bits for their length.
_MOST_EXIF = 65533


class Extras(NamedTuple):
    """What a picture has beside its colours.

    Attributes:
        alpha: uint8 (H, W), turned as Exif says, or None.
        exif: Pillow's, without the orientation, which the pixels have already; None where there is none.
        profile: the colour profile of RGB, or None.
        more: how many frames of an animation, or pages, follow the picture in its file; None: no other.
    """

    alpha: Image | None = None
    exif: PILImage.Exif | None = None
    profile: bytes | None = None
    more: int | None = None


def decode(data: bytes, what: str, has_alpha: bool) -> tuple[Image, Extras]:
    """Encoded bytes as uint8 (H, W, 3) RGB, turned as Exif says, and the rest of the picture.

    Args:
        what: names them in a UserError.
        has_alpha: as the header says.

    Raises:
        UserError: as :func:`fsr_plugins.images.decode_image`.
    """
    rgb = decode_image(data, what)
    return rgb, beside_colours(data, what, has_alpha, rgb.shape[:2])


def beside_colours(data: bytes, what: str, has_alpha: bool, size: tuple[int, ...]) -> Extras:
    """What a picture has beside its colours, which are decoded only where there is alpha among them.

    Args:
        what: names it in messages.
        has_alpha: as the header says.
        size: height and width of the colours.
    """
    try:
        return _extras(data, look_at(data, what).orientation if has_alpha else None, size)
    except Exception as error:  # of whatever kind: the colours are there, and the rest is anybody's bytes
        logger.warning("'%s': Exif, colour profile and alpha cannot be read and are left out (%s).", what, error)
        return Extras()


def _extras(data: bytes, orientation: int | None, size: tuple[int, ...]) -> Extras:
    """What there is beside the colours.

    Args:
        orientation: by which alpha is turned, as the colours were: Pillow also goes by XMP. None: there is no alpha.
        size: of the colours.
    """
    with PILImage.open(io.BytesIO(data)) as image:
        alpha = None
        if orientation is not None:
            alpha = turned(np.array(image.convert('RGBA'), np.uint8)[..., 3], orientation)
            if alpha.shape != size:
                raise ValueError('alpha is of another size')
        profile = image.info.get('icc_profile')
        # A profile of grey or CMYK is none of the result, which is RGB.
        profile = profile if isinstance(profile, bytes) and profile[16:20] == b'RGB ' else None
        exif = image.getexif()
        for tag in (_ORIENTATION, *(_LAYOUT if image.format == 'TIFF' else ())):
            if tag in exif:
                del exif[tag]
        return Extras(alpha, exif if len(exif) else None, profile, _more(image) or None)


def _more(image: PILImage.Image) -> int:
    """How many frames or pages a file has beside its first; a JPEG's are smaller views of the same."""
    if image.format not in _OF_SEVERAL:
        return 0
    try:
        return getattr(image, 'n_frames', 1) - 1
    except Exception:  # those behind the first are not decoded, and may be damaged
        return 1


def encode(image: Image, extras: Extras, suffix: str) -> bytes:
    """The bytes of a file of a result.

    Args:
        image: uint8 (H, W, 3).
        extras: of the picture that it was made of; alpha is brought to the result's size.
        suffix: of the file, one that :func:`suffix_of` gives.
    """
    kind, how = _WRITTEN[suffix.lower()]
    if kind == 'PNG' and all(each is None for each in (extras.alpha, extras.exif, extras.profile)):
        return encode_png(image)
    if extras.alpha is not None and suffix.lower() not in NO_ALPHA:
        image = np.dstack([image, enlarged_alpha(extras.alpha, image.shape)])
    if extras.profile is not None:
        how = how | {'icc_profile': extras.profile}
    if extras.exif is not None:
        how = how | {'exif': _exif_bytes(extras.exif, image.shape, kind)}
    file = io.BytesIO()
    PILImage.fromarray(image).save(file, kind, **how)
    return file.getvalue()


def _exif_bytes(exif: PILImage.Exif, shape: tuple[int, ...], kind: str) -> bytes:
    """Exif for a result of another size; nothing, with a message, if Pillow or the kind of file cannot hold it."""
    try:
        more = exif.get_ifd(_MORE) if _MORE in exif else {}
        more |= {tag: side for tag, side in ((_WIDTH, shape[1]), (_HEIGHT, shape[0])) if tag in more}
        found = exif.tobytes()
    except Exception as error:  # damaged tags are anybody's bytes, and keep nobody from the picture
        logger.warning('Exif of a picture cannot be written and is left out (%s).', error)
        return b''
    if kind == 'JPEG' and len(found) > _MOST_EXIF:
        logger.warning('Exif of a picture is left out: it has %d bytes, and a JPEG holds %d.', len(found), _MOST_EXIF)
        return b''
    return found


def enlarged_alpha(alpha: Image, shape: tuple[int, ...]) -> Image:
    """Alpha (H, W) as large as a result whose shape begins with its height and width."""
    larger: Image = cv2.resize(alpha, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return larger


def suffix_of(source_suffix: str, extension: Extension) -> str:
    """The suffix of a result's file, by that of its input's."""
    if extension != 'same':
        return f'.{extension}'
    return source_suffix if source_suffix.lower() in _WRITTEN else '.png'


def unfit(suffix: str, shape: tuple[int, ...]) -> str | None:
    """Why a result of that height and width cannot be a file with that suffix; None: it can."""
    kind = _WRITTEN[suffix.lower()][0]
    longest = _LONGEST.get(kind)
    if longest is None or max(shape[:2]) <= longest:
        return None
    return f'would be {shape[1]}×{shape[0]}, and a {kind} has {longest} pixels a side at most: give --ext png.'
