"""Where a restored face ends: round the face, and with nothing of the photograph lost."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from prepared import picture

from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection, ffhq_template
from fsr_plugins.faces.parts import PARTS
from fsr_plugins.faces.protocol import Image, Images
from fsr_plugins.restore import photograph
from fsr_plugins.restore.face_choice import FaceChoice
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.restorers import Photographs
from fsr_plugins.restore.seam import face_mask, face_masks

POINTS = ffhq_template(64).numpy()


def test_the_seam_runs_round_the_face() -> None:
    """FFHQ's faces: eyes, nose, mouth, chin and brow are whole, the corners are the photograph's."""
    mask = face_mask(64, 64, POINTS)
    inside = np.rint(POINTS).astype(int)
    assert (mask[inside[:, 1], inside[:, 0]] == 255).all()
    eyes, mouth = POINTS[:2].mean(axis=0), POINTS[3:].mean(axis=0)
    chin, brow = mouth + 0.6 * (mouth - eyes), eyes - 0.6 * (mouth - eyes)
    assert all(mask[int(y), int(x)] > 200 for x, y in (chin, brow))
    assert all(mask[y, x] == 0 for y in (5, 58) for x in (5, 58)) and not mask[[0, -1]].any()
    # Soft: nowhere more than a fifth from one pixel to the next.
    steps = [np.abs(np.diff(mask.astype(int), axis=axis)).max() for axis in (0, 1)]
    assert max(steps) < 51
    # No square: along the circle through the middles of the sides it is not what it is at the sides' corners.
    assert mask[32, 8] > mask[8, 8] and mask[32, 55] > mask[8, 55]


@pytest.mark.parametrize('turns', [1, 2, 3])
def test_the_seam_turns_with_the_face(turns: int) -> None:
    turned = POINTS
    for _ in range(turns):
        turned = np.stack([turned[:, 1], 63 - turned[:, 0]], axis=1)
    assert np.abs(face_mask(64, 64, turned).astype(int) - np.rot90(face_mask(64, 64, POINTS), turns)).max() <= 1


def test_points_that_say_nothing_leave_the_whole_crop() -> None:
    mask = face_mask(40, 64, np.full((5, 2), 20.0, np.float32))
    assert (mask[8:-8, 12:-12] == 255).all() and not mask[[0, -1]].any() and not mask[:, [0, -1]].any()


@pytest.mark.parametrize('times', [1, 2, 4])
def test_a_photograph_loses_no_detail_by_a_network_that_only_enlarges(times: int) -> None:
    """Enlarged less than the network does, SR is reduced; what that takes is taken from nothing that is seen."""
    image = cv2.GaussianBlur(picture(5, 60, 60), (0, 0), 0.7)
    points = (POINTS[:, :] / 8 + (26, 26)).astype(np.float32)
    found = Detection(np.array([26, 26, 34, 34], np.float32), 0.9, points)
    network = FaceNetwork(lambda lq: bicubic_up(lq, 4), 4, (8, 8), ffhq_template(8).numpy())
    assert network.points is not None
    cuts = photograph.cut(image, [found], (8, 8), network.points, FaceChoice(most=2.0))
    assert cuts[0].reduction == pytest.approx(1, abs=0.02)
    plain = photograph.enlarged(image, times)
    result = plain.copy()
    photograph.put_back(result, times, cuts, network([cut.lr for cut in cuts if cut.lr is not None]))
    inside = slice(28 * times, 32 * times)
    changed, detail = (result.astype(float) - plain)[inside, inside], plain[inside, inside].astype(float)
    assert np.abs(changed).mean() < 0.15 * detail.std(axis=(0, 1)).mean()


class OneFace:
    """Sees the head of every first image of two as a box of hair over skin, with a neck below; of others nothing."""

    def parse(self, images: Images) -> list[Image | None]:
        maps: list[Image | None] = []
        for place, image in enumerate(images):
            parts = np.zeros(image.shape[:2], np.uint8)
            parts[16:24, 20:44] = PARTS.index('hair')
            parts[24:44, 20:44] = PARTS.index('skin')
            parts[44:, 26:38] = PARTS.index('neck')
            maps.append(None if place % 2 else parts)
        return maps


def test_the_seam_follows_the_outline_that_a_parser_finds() -> None:
    images = [picture(seed, 64, 64) for seed in (1, 2)]
    seen, unseen = face_masks(images, [POINTS, POINTS], OneFace())
    assert (seen[16:44, 20:44] == 255).all() and not seen[:6].any() and not seen[56:].any()
    # The neck is the photograph's, and the edge falls evenly to all sides: 8 pixels are an eighth of the side.
    assert not seen[53:, 26:38].any() and seen[46, 32] == seen[30, 17] == seen[30, 46] == seen[13, 32]
    assert 0 < seen[46, 32] < 255
    assert (unseen == face_mask(64, 64, POINTS)).all()
    assert all((mask == face_mask(64, 64, POINTS)).all() for mask in face_masks(images, [POINTS, POINTS]))


def test_a_parser_that_sees_no_head_leaves_the_ellipse() -> None:
    class Background:
        def parse(self, images: Images) -> list[Image | None]:
            return [np.full(image.shape[:2], PARTS.index('cloth'), np.uint8) for image in images]

    assert (face_masks([picture(1, 64, 64)], [POINTS], Background())[0] == face_mask(64, 64, POINTS)).all()


@pytest.mark.parametrize(
    'where', [(slice(0, 3), slice(0, 2)), (slice(4, 14), slice(8, 56)), (slice(30, 60), slice(0, 8))]
)
def test_a_head_that_does_not_hold_the_face_leaves_the_ellipse(where: tuple[slice, slice]) -> None:
    """Stray pixels, hair alone, a neighbour."""

    class Elsewhere:
        def parse(self, images: Images) -> list[Image | None]:
            parts = np.zeros((64, 64), np.uint8)
            parts[where] = PARTS.index('hair')
            return [parts]

    assert (face_masks([picture(1, 64, 64)], [POINTS], Elsewhere())[0] == face_mask(64, 64, POINTS)).all()


def test_a_neighbours_head_is_not_this_faces() -> None:
    class Two:
        def parse(self, images: Images) -> list[Image | None]:
            parts = np.zeros((64, 64), np.uint8)
            parts[14:50, 16:46] = PARTS.index('skin')
            parts[20:50, 52:60] = PARTS.index('skin')
            return [parts]

    mask = face_masks([picture(1, 64, 64)], [POINTS], Two())[0]
    assert mask[30, 30] == 255 and not mask[20:50, 55:].any()


def test_a_photograph_shows_a_face_within_the_outline_alone() -> None:
    """A network that makes all white shows where the parser saw a head, and nowhere else."""
    points = (POINTS + (40, 40)).astype(np.float32)
    found = Detection(np.array([50, 50, 94, 94], np.float32), 0.9, points)
    network = FaceNetwork(lambda lq: (bicubic_up(lq, 1) > 0.5).float(), 1, (64, 64), POINTS)
    image = picture(3, 144, 144)
    cuts = photograph.cut(image, [found], (64, 64), POINTS, FaceChoice(most=2.0))
    lr = [cut.lr for cut in cuts if cut.lr is not None]
    changed = []
    for parser in (None, OneFace()):
        result = image.copy()
        photograph.put_back(result, 1, cuts, network(lr), parser)
        changed.append((result != image).any(axis=2))
    ellipse, outline = changed
    # The box begins at row 56 of the photograph; its seam ends 8 pixels above, and below it lies the neck.
    assert outline[56:84, 60:84].mean() > 0.9 and not outline[94:].any() and not outline[:48].any()
    assert ellipse[94:100].any()


def test_unknown_names_are_found_before_the_first_photograph() -> None:
    with pytest.raises(UserError, match="No parser is named 'bisnet'.*Did you mean 'bisenet'"):
        Photographs(seam='bisnet')
    with pytest.raises(UserError, match="No detector is named 'retinaface'"):
        Photographs(detector='retinaface')


def test_weights_of_a_seam_need_its_name() -> None:
    with pytest.raises(UserError, match='--seam-weights without --seam'):
        Photographs(seam_weights=Path('x.pth'))
