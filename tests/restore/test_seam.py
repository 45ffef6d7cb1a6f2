"""Where a restored face ends: round the face, and with nothing of the photograph lost."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from prepared import picture

from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.faces import Detection, ffhq_template
from fsr_plugins.restore import photograph
from fsr_plugins.restore.face_choice import FaceChoice
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.seam import face_mask

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
