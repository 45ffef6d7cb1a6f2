"""One call: pictures of every kind in, larger ones of the same kind out, with a report of their faces."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from PIL import ImageCms
from prepared import picture, png
from test_restore import write_checkpoint

from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection
from fsr_plugins.restore import FaceNetwork, FaceReport, Photographs, Restorer, restorers

POINTS = np.array([[2.1, 2.6], [4.9, 2.6], [3.5, 4.1], [2.4, 5.6], [4.6, 5.6]], np.float32)


def network(size: tuple[int, int] | None = (8, 8)) -> FaceNetwork:
    """That enlarges bicubically and brightens."""
    return FaceNetwork(lambda lq: bicubic_up(lq, 4) + 0.1, 4, size, None if size is None else POINTS)


class Middle:
    """A detector of one face in the middle of what it looks at, and a larger one in its corner."""

    opened = 0

    def __init__(self) -> None:
        Middle.opened += 1

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        found = []
        for image in images:
            middle = np.array(image.shape[1::-1], np.float32) / 2 - 0.5
            points = (POINTS - POINTS.mean(axis=0)) * 4
            faces = [(middle, 1.0, 0.9), (np.array([40.0, 40]), 2.0, 0.8)]
            found.append([
                Detection(np.array([*(at - 14 * size), *(at + 14 * size)], np.float32), score,
                          (points * size + at).astype(np.float32))
                for at, size, score in faces
            ])  # fmt: skip
        return found


@pytest.fixture(autouse=True)
def _detector(monkeypatch: pytest.MonkeyPatch) -> None:
    Middle.opened = 0
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: Middle())
    monkeypatch.setattr(restorers, 'best_without_download', lambda _: 'retinaface_resnet50')


def test_every_kind_comes_back_as_it_was(tmp_path: Path) -> None:
    rgb = picture(3, 8, 8)
    restore = Restorer(network())
    expected = restore(rgb).image
    assert expected.dtype == np.uint8 and expected.shape == (32, 32, 3)
    assert abs(float(expected.mean()) - rgb.mean() - 25.5) < 6
    pillow = restore(PILImage.fromarray(rgb)).image
    assert pillow.mode == 'RGB' and (np.array(pillow) == expected).all()
    floats = restore(rgb.astype(np.float32) / 255).image
    assert floats.dtype == np.float32 and np.abs(floats * 255 - expected).max() < 1e-3
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    for given in (tensor, tensor.double() / 255, tensor.bfloat16() / 255):
        result = restore(given).image
        assert result.dtype == given.dtype and result.shape == (3, 32, 32)
        levels = result.float() * (255 if given.is_floating_point() else 1)
        assert (levels.permute(1, 2, 0).numpy() - expected).__abs__().max() < 4
    (tmp_path / 'a.png').write_bytes(png(rgb))
    for path in (tmp_path / 'a.png', str(tmp_path / 'a.png')):
        assert (np.array(restore(path).image) == expected).all()
    many = restore([rgb, PILImage.fromarray(rgb), tensor, tmp_path / 'a.png'])
    assert [type(each.image) for each in many] == [np.ndarray, PILImage.Image, torch.Tensor, PILImage.Image]
    assert (many[0].image == expected).all() and (many[2].image.permute(1, 2, 0).numpy() == expected).all()
    assert restore([]) == [] and Middle.opened == 0


def test_grey_stays_grey_and_alpha_is_kept() -> None:
    restore = Restorer(network())
    grey = picture(1, 8, 8)[..., 0]
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[:, :4] = 0
    assert restore(grey).image.shape == (32, 32) and restore(grey[..., None]).image.shape == (32, 32, 1)
    for channels in (2, 4):
        image = np.dstack([grey] * (channels - 1) + [alpha])
        result = restore(image).image
        assert result.shape == (32, 32, channels)
        assert (result[:, :12, -1] < 30).all() and (result[:, 20:, -1] > 225).all()
    for mode in ('L', 'LA', 'RGBA'):
        image = PILImage.fromarray(grey if mode == 'L' else np.dstack([grey] * (len(mode) - 1) + [alpha]))
        assert image.mode == mode and restore(image).image.mode == mode
    palette = PILImage.fromarray(picture(1, 8, 8)).quantize(16)
    assert restore(palette).image.mode == 'RGB'
    palette.info['transparency'] = 0
    assert restore(palette).image.mode == 'RGBA'


def test_grey_with_a_transparent_level_stays_grey() -> None:
    image = PILImage.fromarray(np.repeat(np.uint8([[7, 200]]), 8, axis=0).repeat(4, axis=1))
    image.info['transparency'] = 7
    result = Restorer(network())(image).image
    assert result.mode == 'LA'
    alpha = np.array(result)[..., 1]
    assert (alpha[:, :12] < 30).all() and (alpha[:, 20:] > 225).all()


@pytest.mark.parametrize('mode', ['I', 'I;16', 'F'])
def test_a_transparent_level_does_not_hide_that_levels_are_more_than_8_bits(mode: str) -> None:
    image = PILImage.new(mode, (8, 8), 30_000)
    image.info['transparency'] = 7
    with pytest.raises(UserError, match=f"mode '{mode}': only 8 bits a channel are taken"):
        Restorer(network())(image)


def test_an_image_of_pillow_whose_file_is_cut_off_is_refused() -> None:
    file = io.BytesIO()
    PILImage.fromarray(picture(2, 64, 64)).save(file, 'PNG')
    half = PILImage.open(io.BytesIO(file.getvalue()[:3000]))
    with pytest.raises(UserError, match="'picture 0' cannot be decoded .*: it is damaged"):
        Restorer(network())(half)


def test_an_image_of_pillow_is_turned_as_its_exif_says() -> None:
    image = PILImage.fromarray(picture(2, 8, 8))
    image.getexif()[0x0112] = 6
    turned = Restorer(network())(image).image
    straight = Restorer(network())(PILImage.fromarray(np.rot90(picture(2, 8, 8), 3).copy())).image
    assert (np.array(turned) == np.array(straight)).all()


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        (np.full((8, 8, 3), 1.5), r'floats from 1.5 to 1.5: they must lie in \[0, 1\]'),
        (np.full((8, 8, 3), -0.1), 'floats from -0.1'),
        (np.full((8, 8, 3), np.nan), 'floats from nan'),
        (np.zeros((8, 8, 3), np.int64), 'of int64'),
        (np.zeros((8, 8, 5), np.uint8), r'\(8, 8, 5\)'),
        (np.zeros((0, 8, 3), np.uint8), r'\(0, 8, 3\)'),
        (torch.zeros(1, 3, 8, 8), 'give its pictures as a list'),
        (PILImage.new('I;16', (8, 8)), "mode 'I;16'"),
        (b'bytes', 'is bytes'),
        ('nowhere.png', 'nowhere.png'),
    ],
)
def test_what_is_no_picture_is_refused(wrong: object, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Restorer(network())([picture(0, 8, 8), wrong])
    assert isinstance(wrong, str) or "'picture 1'" in str(caught.value)


def test_a_face_network_refuses_floats() -> None:
    """Floats in [0, 1] were taken for levels of 255, and the result was nearly black."""
    with pytest.raises(UserError, match='the network takes faces of 0 to 255. Image 0 is float32'):
        network()([picture(0, 8, 8).astype(np.float32) / 255])


def test_a_face_that_the_network_fails_on_keeps_no_other_photograph_out() -> None:
    def fails(lq: torch.Tensor) -> torch.Tensor:
        sr = bicubic_up(lq, 4)
        return torch.where(lq.mean(dim=(1, 2, 3), keepdim=True) > 0.9, torch.nan, sr)

    faces = restorers.PhotographFaces(FaceNetwork(fails, 4, (8, 8), POINTS), Photographs(most=9, least=0))
    dark, white = picture(3, 96, 96) // 2, np.full((96, 96, 3), 255, np.uint8)
    made, wrong = faces.make({Path('a'): dark, Path('b'): white, Path('c'): dark})
    assert list(made) == [Path('a'), Path('c')] and list(wrong) == [Path('b')]
    assert 'no finite numbers' in wrong[Path('b')]
    alone, _ = faces.make({Path('a'): dark})
    assert (made[Path('a')].image == alone[Path('a')].image).all()
    assert (made[Path('c')].image == alone[Path('a')].image).all()


def test_auto_takes_small_pictures_for_faces_and_large_ones_for_photographs() -> None:
    restore = Restorer(network())
    for sides in ((8, 8), (12, 12), (6, 12)):
        assert restore(picture(0, *sides)).image.shape == (32, 32, 3)
    assert Middle.opened == 0
    photograph, small = picture(0, 40, 13), picture(1, 8, 8)
    results = restore([small, photograph, small])
    assert [each.image.shape for each in results] == [(32, 32, 3), (160, 52, 3), (32, 32, 3)]
    assert [len(each.faces) for each in results] == [0, 2, 0] and Middle.opened == 1
    assert restore(picture(0, 13, 13)).image.shape == (52, 52, 3) and Middle.opened == 1
    whole = Restorer(network(None))(picture(0, 30, 40))
    assert whole.image.shape == (120, 160, 3) and whole.faces == [] and Middle.opened == 1


def test_the_mode_decides_by_hand() -> None:
    assert Restorer(network(), 'face')(picture(0, 40, 40)).image.shape == (32, 32, 3)
    assert Restorer(network(), 'photograph')(picture(0, 8, 8)).image.shape == (32, 32, 3)
    with pytest.raises(UserError, match="mode 'faces'"):
        Restorer(network(), 'faces')


def test_the_report_says_what_became_of_each_face() -> None:
    image = cv2.GaussianBlur(picture(0, 60, 80), (0, 0), 3)
    result = Restorer(network())(image)
    large, face = sorted(result.faces, key=lambda each: each.score)
    assert isinstance(face, FaceReport) and face.restored and face.left_by is None and 0.3 < face.weight < 0.6
    assert face.size == pytest.approx(7, abs=0.1) and len(face.points) == 5
    assert face.box == pytest.approx((36, 26, 43, 33), abs=0.2)
    assert not large.restored and large.left_by == '--most' and large.size == pytest.approx(14, abs=0.1)


@pytest.mark.parametrize(
    ('choice', 'left'),
    [
        ({'only_largest': True}, [None, '--only-largest']),
        ({'smallest': 10.0}, [None, '--min-face']),
        ({'largest': 10.0}, ['--max-face', None]),
        ({'score': 0.85}, ['--score', None]),
        ({}, [None, None]),
    ],
)
def test_faces_are_chosen_by_their_size(choice: dict[str, float], left: list[str | None]) -> None:
    result = Restorer(network(), photographs=Photographs(most=3.0, **choice))(picture(0, 60, 80))
    assert [face.left_by for face in sorted(result.faces, key=lambda each: each.score)] == left
    with pytest.raises(UserError, match='--min-face 9 and --max-face 3'):
        Photographs(smallest=9, largest=3)


def test_by_a_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / 'net.pth', [{'size': [32, 32]}])
    restore = Restorer.open(tmp_path / 'net.pth', device='cpu', precision='fp32', batch_size=2)
    assert restore.network.batch_size == 2
    seen: list[int] = []
    inner = restore.network.net
    object.__setattr__(restore.network, 'net', lambda lq: seen.append(len(lq)) or inner(lq))
    assert len(restore([picture(number, 8, 8) for number in range(5)])) == 5 and seen == [2, 2, 1]
    # The checkpoint does not say where the points lie.
    with pytest.raises(UserError, match='does not say where the points'):
        restore(picture(0, 40, 40))
    with pytest.raises(UserError, match='--batch-size 0'):
        Restorer.open(tmp_path / 'net.pth', batch_size=0)


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ({'strength': '0.5'}, r"--strength '0.5': a number is needed"),
        ({'most': True}, r'--most True: a number is needed'),
        ({'smallest': None}, r'--min-face None: a number is needed'),
        ({'enlarge': 2.5}, r'--enlarge 2.5: a whole number is needed'),
        ({'detector': ['mtcnn']}, r"--detector \['mtcnn'\]: text is needed"),
        ({'weights': 3}, r'--detector-weights 3: a path is needed'),
        ({'only_largest': 'no'}, r"--only-largest 'no': True or False is needed"),
    ],
)
def test_options_of_another_type(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Photographs(**given)


def test_what_is_no_options_or_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'photographs' is dict: fsr_plugins.restore.Photographs\(…\) is needed"):
        Restorer(network(), photographs={'strength': 0.5})  # type: ignore[arg-type]
    with pytest.raises(UserError, match='is a folder: give its images') as refused:
        Restorer(network())(tmp_path)
    assert 'remove' not in str(refused.value)


def test_the_bare_network(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / 'net.pth', [{'size': [32, 32]}])
    larger = FaceNetwork.open(tmp_path / 'net.pth')([picture(3, 8, 8)])
    assert [face.shape for face in larger] == [(32, 32, 3)]


def test_an_image_of_pillow_keeps_its_colour_profile(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    image = PILImage.fromarray(picture(2, 8, 8))
    image.save(tmp_path / 'a.png', icc_profile=profile)
    image.info['icc_profile'] = profile
    restore = Restorer(network())
    assert [restore(each).image.info['icc_profile'] for each in (image, tmp_path / 'a.png')] == [profile, profile]
    # One of another mode than the result's says nothing of it.
    cmyk = image.convert('CMYK')
    cmyk.info['icc_profile'] = profile[:16] + b'CMYK' + profile[20:]
    assert 'icc_profile' not in restore(cmyk).image.info
