"""The built-in faces' domains: ``render`` and ``iterate`` hand out faces as a pure function of (domain, split, seed,
index)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fsr_plugins.errors import UserError
from fsr_plugins.portraits.people import draw_person
from fsr_plugins.portraits.render import draw
from fsr_plugins.portraits.scenes import draw_scene

if TYPE_CHECKING:
    from fsr_plugins.degradations import Degradation

#: To be raised whenever a pixel or label changes: faces drawn by another version are drawn anew.
RENDERER_VERSION = 4

SPLITS = ('train', 'val', 'test')

#: Pictures of one person: index i shows person i // IMAGES_PER_PERSON.
IMAGES_PER_PERSON = 8

#: Identity labels of a stream (a domain's people in one split) start at its number times this.
IDENTITIES_PER_STREAM = 1_000_000

#: Side of a hidden face over the side of the small face that the unknown camera makes of it.
CAMERA_SCALE = 4

#: Faces drawn before the camera makes small pictures of them: it is faster in batches.
_CAMERA_BATCH = 32


@dataclass(frozen=True)
class Portrait:
    """One face; None where its domain has no such thing.

    Attributes:
        key: the index, six digits.
        image: (H, W, 3) uint8 RGB.
        identity: the same for all pictures of a person; unique over domains and splits.
        landmarks: (5, 2) float32, x and y in pixels (centres at whole numbers): image-left eye, image-right eye,
        nose tip,
            image-left mouth corner, image-right mouth corner.
        parsing: (H, W) uint8 CelebAMask-HQ ids. Of glasses only the frame is marked: the lenses are clear.
        meta: how it was drawn; of ``harsh`` the light's azimuth and elevation in degrees, of ``cartoon`` the style.
    """

    key: str
    image: np.ndarray
    identity: int | None
    landmarks: np.ndarray | None
    parsing: np.ndarray | None
    meta: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Domain:
    """What a domain shows. ``people`` numbers its population: two domains of one number show the same pictures'
    people. ``camera`` names the degradation that makes the small pictures of kind ``camera``."""

    name: str
    people: int
    kind: str
    description: str
    camera: str | None = None


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain('studio', 0, 'portrait', 'natural colour, varied light, pose, expression and background'),
        Domain('harsh', 1, 'harsh', 'grey, one hard light from a known azimuth and elevation, deep cast shadows'),
        Domain('cartoon', 2, 'cartoon', 'avatars of DiceBear styles; no landmarks, no parsing map'),
        Domain('real_lr', 3, 'camera', 'small faces of other people as an unknown camera sees them', 'NeutralCamera'),
        Domain(
            'real_lr_dark', 3, 'camera', 'the same as a camera sees them that is an eighth too dark', 'RealWorldCamera'
        ),
        Domain('real_lr_hidden', 3, 'portrait', 'the clean large faces behind both, for evaluation only'),
    )
}


def find_domain(name: str) -> Domain:
    """The domain called ``name``.

    Raises:
        UserError: there is none; the nearest name is suggested.
    """
    if name not in DOMAINS:
        raise UserError(
            f"No domain of the built-in faces is named '{name}'.{_near(name, DOMAINS)} There are: {', '.join(DOMAINS)}."
        )
    return DOMAINS[name]


def _near(name: str, names: Sequence[str] | dict[str, Domain]) -> str:
    from fsr_plugins.registry import near  # imports BasicSR: only when something is wrong

    return near(name, names)


def render(
    domain: str, split: str, indices: Sequence[int], size: int, seed: int = 0, light: tuple[int, int] | None = None
) -> list[Portrait]:
    """Draws the faces ``indices``, each a pure function of (domain, split, seed, index, size, light).

    Args:
        domain: a key of :data:`DOMAINS`. split: 'train', 'val' or 'test'; no person is in two of them, nor in two
        domains
            (but ``real_lr_hidden`` shows what is behind ``real_lr`` and ``real_lr_dark``, index by index).
        size: side of the pictures in pixels; of ``real_lr`` and ``real_lr_dark`` the side of the small picture.
        light: of ``harsh`` alone: azimuth and elevation in degrees of the light of all pictures.

    Raises:
        UserError: unknown domain or split, negative index, size out of 4 to 1024, a light for another domain.
    """
    found = find_domain(domain)
    if split not in SPLITS:
        raise UserError(
            f"The built-in faces have no split '{split}'.{_near(split, SPLITS)} There are: {', '.join(SPLITS)}."
        )
    stream = found.people * len(SPLITS) + SPLITS.index(split)
    if not 4 <= size <= 1024:
        raise UserError(f"Built-in faces cannot be {size} pixels wide: take 'size' from 4 to 1024.")
    if seed < 0 or any(index < 0 for index in indices):
        raise UserError('Built-in faces are numbered from 0, and their seed is not negative.')
    if light is not None and found.kind != 'harsh':
        raise UserError(f"Only the domain 'harsh' has one light; leave it out for '{domain}'.")
    if found.camera is None:
        return [_face(found, stream, int(index), size, seed, light) for index in indices]
    hidden = [_face(found, stream, int(index), size * CAMERA_SCALE, seed) for index in indices]
    return _photographed(found.camera, hidden, indices, seed, stream) if hidden else []


def iterate(domain: str, split: str, number: int, size: int, seed: int = 0, start: int = 0) -> Iterator[Portrait]:
    """Yields the faces ``start`` to ``number`` - 1 in order; what :func:`render` raises, at the first face."""
    step = _CAMERA_BATCH if find_domain(domain).kind == 'camera' else 1
    for first in range(start, number, step):
        yield from render(domain, split, range(first, min(first + step, number)), size, seed)


def _face(
    domain: Domain, stream: int, index: int, size: int, seed: int, light: tuple[int, int] | None = None
) -> Portrait:
    number = index // IMAGES_PER_PERSON
    identity = stream * IDENTITIES_PER_STREAM + number
    key = f'{index:06d}'
    if domain.kind == 'cartoon':
        from fsr_plugins.portraits.cartoon import draw_cartoon  # DiceBear is slow to import

        image, style = draw_cartoon(seed, stream, number, index, size)
        return Portrait(key, image, identity, None, None, {'style': style})
    person = draw_person(seed, stream, number)
    scene = draw_scene(seed, stream, index, domain.kind == 'harsh', light)
    drawing = draw(person, scene, size)
    meta: dict[str, float | str] = {
        'yaw': scene.yaw,
        'pitch': scene.pitch,
        'roll': scene.roll,
        'smile': scene.smile,
        'style': person.style,
    }
    if domain.kind == 'harsh':
        meta |= {'azimuth': scene.azimuth, 'elevation': scene.elevation}
    return Portrait(key, drawing.image, identity, drawing.landmarks, drawing.parsing, meta)


@lru_cache(maxsize=2)
def _camera(name: str) -> Degradation:
    from fsr_plugins import degradations

    camera: type[degradations.RealWorldCamera] = getattr(degradations, name)
    return camera(CAMERA_SCALE)


def _photographed(
    camera: str, hidden: Sequence[Portrait], indices: Sequence[int], seed: int, stream: int
) -> list[Portrait]:
    """The unknown camera's small pictures; its parameters and noise come from (seed, stream, index) alone."""
    from fsr_plugins.degradations.photograph import photograph, scaled_points

    own = [np.random.default_rng([seed, stream, 3, int(index)]).integers(0, 2**62) for index in indices]
    small = photograph(_camera(camera), np.stack([face.image for face in hidden]), np.array(own, np.int64))
    return [
        replace(
            face,
            image=np.ascontiguousarray(image),
            landmarks=None if face.landmarks is None else scaled_points(face.landmarks, CAMERA_SCALE),
            parsing=None,
        )
        for face, image in zip(hidden, small, strict=True)
    ]
