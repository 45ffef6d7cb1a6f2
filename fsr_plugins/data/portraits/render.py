"""One portrait: layers drawn from back to front on a raster finer than the picture, then reduced in linear light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsr_plugins.data.portraits import skin
from fsr_plugins.data.portraits.anatomy import WAIST, jaw_length, landmarks, normals, outline, relief
from fsr_plugins.data.portraits.eyes import eye
from fsr_plugins.data.portraits.frame import Array, Frame, step
from fsr_plugins.data.portraits.glasses import glasses
from fsr_plugins.data.portraits.hair import Hair, hair
from fsr_plugins.data.portraits.people import Person
from fsr_plugins.data.portraits.scenes import Scene
from fsr_plugins.data.portraits.shading import cast_shadow, occlusion, shade_skin
from fsr_plugins.data.portraits.surroundings import background, cloth, ear, neck

#: The raster is at least this fine, and at least twice the picture.
RASTER = 256


@dataclass
class Drawing:
    """A portrait as drawn: image (H, W, 3) uint8 RGB, landmarks (5, 2) float32 pixels, parsing (H, W) uint8 CelebAMask-HQ ids."""

    image: Array
    landmarks: Array
    parsing: Array


def _face(frame: Frame, person: Person, scene: Scene) -> skin.Surface:
    surface = skin.complexion(frame, person, scene)
    skin.nose(surface, frame, person)
    skin.mouth(surface, frame, person, scene)
    for side in (-1, 1):
        eye(surface, frame, person, scene, side)
        skin.brow(surface, frame, person, scene, side)
    return surface


def _over(image: Array, cover: Array, layer: Array) -> None:
    for plane, value in zip(image, layer, strict=True):
        plane += cover * (value - plane)


def _field(head: Array, face: Array, body: Array, locks: Hair) -> Array:
    """Height field for the shadows: head and hair stand before the neck, the neck before nothing."""
    field = np.where(body > 0.5, head - 0.02, np.float32(-1.2))
    field = np.where(face > 0.5, head, field)
    return np.where(locks.front > 0.5, np.maximum(locks.lift, field), field).astype(np.float32)


def raster(person: Person, scene: Scene, side: int) -> tuple[Array, Array, Frame]:
    """Linear radiance (3, side, side) float32 and labels (side, side) uint8 of a portrait, and where its points lie."""
    frame = Frame(side, person, scene)
    chin = WAIST + jaw_length(person, scene)
    rim = outline(frame.x, frame.y, person, jaw_length(person, scene))
    face = step((1 - rim) * (0.9 * person.width * frame.unit))
    surface = _face(frame, person, scene)
    neck_cover, neck_height = neck(frame, person, chin)
    height = relief(frame, rim, person, scene)
    label = np.zeros((side, side), np.uint8)
    bare = neck_height + np.float32(0.0)
    colour = surface.colour
    locks = hair(frame, person, scene)
    body = neck_cover.copy()
    label[locks.back > 0.5] = skin.HAIR
    label[neck_cover > 0.5] = skin.NECK
    ears = np.zeros_like(face)
    plain = colour.copy()
    for side_, mark in ((-1, skin.EAR_R), (1, skin.EAR_L)):
        box, cover = ear(frame, person, scene, side_, bare, plain)
        ears[box] = np.maximum(ears[box], cover)
        label[box][cover > 0.5] = mark
    skin_cover = np.maximum(np.maximum(body, ears), face)
    in_face = face > 0.5
    height = np.where((skin_cover > 0.02) & ~in_face, np.where(body + ears > 0.02, bare, height), height)
    for channel in range(3):
        colour[channel] = np.where(in_face, colour[channel], plain[channel])
    label[in_face] = surface.label[in_face]
    lit = cast_shadow(_field(height, skin_cover, body, locks), scene, frame.unit)
    open_ = occlusion(np.where(in_face, height, height - 0.01), frame.unit)
    normal = normals(height + surface.grain, frame, scene)
    skin_light = shade_skin(colour, normal, surface.gloss, lit, open_, scene)
    skin_light += np.where(in_face, surface.glow, 0)
    image = background(frame, scene)
    _over(image, locks.back, 0.35 * locks.light)
    _over(image, skin_cover, skin_light)
    cloth_cover, cloth_light = cloth(frame, person, scene, chin, lit)
    cloth_cover = cloth_cover * ~in_face
    _over(image, cloth_cover, cloth_light)
    label[cloth_cover > 0.5] = skin.CLOTH
    if person.glasses:
        glasses(image, label, frame, person, scene, skin.GLASSES)
    _over(image, locks.front, locks.light)
    label[locks.front > 0.5] = skin.HAIR
    return image, label, frame


def develop(radiance: Array, size: int, grey: bool) -> Array:
    """Reduces linear radiance (3, side, side) to ``size`` by area and maps it to display values, (size, size, 3) uint8 RGB."""
    planes = radiance if not grey else (0.30 * radiance[0] + 0.59 * radiance[1] + 0.11 * radiance[2])[None]
    small = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in planes]
    linear = cv2.merge(small * 3 if grey else small)
    tone = linear * (1.12 / (1 + 0.22 * np.maximum(linear, 0)))
    return np.clip(np.sqrt(np.maximum(tone, 0)) * 255 + 0.5, 0, 255).astype(np.uint8)


def reduce_labels(label: Array, size: int) -> Array:
    """The label that covers most of each pixel (the smallest id where two are equal), (size, size) uint8."""
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=19))
    shares = [cv2.resize((label == k).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) for k in present]
    return present[np.argmax(np.stack(shares), axis=0)].astype(np.uint8)


def draw(person: Person, scene: Scene, size: int) -> Drawing:
    """Draws ``person`` in ``scene`` on ``size`` x ``size`` pixels."""
    factor = max(2, -(-RASTER // size))
    radiance, label, frame = raster(person, scene, size * factor)
    points = (frame.project(landmarks(person, scene)) + 0.5) / factor - 0.5
    return Drawing(develop(radiance, size, scene.grey), points.astype(np.float32), reduce_labels(label, size))
