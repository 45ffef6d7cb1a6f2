"""One portrait: layers drawn from back to front on a raster finer than the picture, then reduced in linear light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsr_plugins.portraits import skin
from fsr_plugins.portraits.anatomy import WAIST, add_lips, jaw_length, landmarks, normals, outline, relief
from fsr_plugins.portraits.eyes import eye
from fsr_plugins.portraits.frame import Array, Frame, step
from fsr_plugins.portraits.glasses import glasses
from fsr_plugins.portraits.hair import hair
from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene
from fsr_plugins.portraits.shading import cast_shadow, occlusion, shade_skin
from fsr_plugins.portraits.surroundings import background, cloth, ear, neck

#: The raster is at least this fine, and at least twice the picture.
RASTER = 256


@dataclass
class Drawing:
    """A portrait as drawn: image (H, W, 3) uint8 RGB, landmarks (5, 2) float32 pixels, parsing (H, W) uint8
    CelebAMask-HQ ids."""

    image: Array
    landmarks: Array
    parsing: Array


def _over(image: Array, cover: Array, layer: Array) -> None:
    for plane, value in zip(image, layer, strict=True):
        plane += cover * (value - plane)


@dataclass
class _Skin:
    """All bare skin of a portrait: surface, height, coverage of the face and of everything."""

    surface: skin.Surface
    height: Array
    face: Array
    cover: Array


def _bare(frame: Frame, person: Person, scene: Scene, label: Array) -> _Skin:
    """Neck, ears and face as one surface; marks them in ``label``."""
    coarse, jaw = frame.coarse, jaw_length(person, scene)
    rim = outline(coarse.x, coarse.y, person, jaw)
    face = step((1 - frame.up(rim)) * (0.9 * person.width * frame.unit))
    height = frame.up(relief(coarse, rim, person, scene))
    add_lips(height, frame, person, scene)
    surface = skin.complexion(frame, person, scene)
    skin.nose(surface, frame, person)
    skin.mouth(surface, frame, person, scene)
    for side in (-1, 1):
        eye(surface, frame, person, scene, side)
        skin.brow(surface, frame, person, scene, side)
    inside, low = neck(frame, person, WAIST + jaw)
    cover, beside = step(inside * frame.unit), np.clip(inside * 12 + 1.0, 0, 1)
    label[cover > 0.5] = skin.NECK
    for side, mark in ((-1, skin.EAR_R), (1, skin.EAR_L)):
        box, part = ear(frame, person, scene, side, (low, surface.colour, face))
        label[box][part > 0.5] = mark
        cover[box] = np.maximum(cover[box], part)
    np.copyto(label, surface.label, where=face > 0.5)
    # Outside the skin the height goes on smoothly, so that no edge shows in the normals there.
    below = np.maximum(beside, cover) * (1 - face)
    height += below * (low - height)
    return _Skin(surface, height, face, np.maximum(cover, face))


def raster(person: Person, scene: Scene, side: int) -> tuple[Array, Array, Frame]:
    """Linear radiance (3, side, side) float32 and labels (side, side) uint8 of a portrait, and where its points lie."""
    frame = Frame(side, person, scene)
    chin = WAIST + jaw_length(person, scene)
    label = np.zeros((side, side), np.uint8)
    locks = hair(frame, person, scene)
    image = background(frame, scene)
    if locks.back is not None:
        label[locks.back > 0.5] = skin.HAIR
        _over(image, locks.back, 0.35 * locks.light)
    head = frame.box(0.0, 0.1, person.width + 0.17, 0.1 + person.top)
    near = frame.crop((slice(head[0].start, side), head[1]))
    bare = _bare(near, person, scene, label[near.part()])
    part = near.part()
    # What casts shadows: hair before skin, skin before nothing.
    field = np.full_like(locks.front, -1.2)
    field[part] += bare.cover * (bare.height + 1.2)
    field = field + locks.front * (np.maximum(locks.lift, field) - field)
    lit = cast_shadow(field, scene, frame.unit)
    open_ = occlusion(bare.height, frame.unit)
    normal = normals(bare.height + bare.surface.grain, frame, scene)
    light = shade_skin(bare.surface.colour, normal, bare.surface.gloss, lit[part], open_, scene)
    light += bare.surface.glow
    _over(image[:, part[0], part[1]], bare.cover, light)
    face = np.zeros_like(lit)
    face[part] = bare.face
    rows, cover, light = cloth(frame, person, scene, chin, lit, face)
    _over(image[:, rows], cover, light)
    label[rows][cover > 0.5] = skin.CLOTH
    if person.glasses:
        glasses(image, label, frame, person, scene, skin.GLASSES)
    _over(image, locks.front, locks.light)
    label[locks.front > 0.5] = skin.HAIR
    return image, label, frame


def develop(radiance: Array, size: int, grey: bool) -> Array:
    """Reduces linear radiance (3, side, side) to ``size`` by area and maps it to display values, (size, size, 3)
    uint8 RGB."""
    planes = radiance if not grey else (0.30 * radiance[0] + 0.59 * radiance[1] + 0.11 * radiance[2])[None]
    small = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in planes]
    linear = cv2.merge(small * 3 if grey else small)
    tone = linear * (1.12 / (1 + 0.22 * np.maximum(linear, 0)))
    return np.clip(np.sqrt(np.maximum(tone, 0)) * 255 + 0.5, 0, 255).astype(np.uint8)


def reduce_labels(label: Array, size: int) -> Array:
    """The label that covers most of each pixel (the smallest id where two are equal), (size, size) uint8."""
    out = np.zeros((size, size), np.uint8)
    most = np.zeros((size, size), np.uint8)
    for k in range(19):
        mask = cv2.compare(label, k, cv2.CMP_EQ)
        if not cv2.hasNonZero(mask):
            continue
        share = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
        np.copyto(out, np.uint8(k), where=share > most)
        np.maximum(most, share, out=most)
    return out


def draw(person: Person, scene: Scene, size: int) -> Drawing:
    """Draws ``person`` in ``scene`` on ``size`` x ``size`` pixels."""
    factor = max(2, -(-RASTER // size))
    radiance, label, frame = raster(person, scene, size * factor)
    points = (frame.project(landmarks(person, scene)) + 0.5) / factor - 0.5
    return Drawing(develop(radiance, size, scene.grey), points.astype(np.float32), reduce_labels(label, size))
