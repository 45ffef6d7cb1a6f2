"""What stands in the place of BasicSR's extensions in CUDA, against what it means, and what BasicSR does with it."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
import torch
import torchvision
from basicsr.archs.stylegan2_arch import StyleGAN2Discriminator, StyleGAN2Generator
from basicsr.losses.gan_loss import g_path_regularize, r1_penalty
from basicsr.models.base_model import BaseModel
from basicsr.ops.dcn import DeformConvPack, ModulatedDeformConvPack
from basicsr.utils import DiffJPEG, FileClient, imfrombytes
from basicsr.utils.img_process_util import filter2D
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from torch import nn
from torch.nn import functional

from fsr_plugins.lmdb_env import release
from fsr_plugins.stores.lmdb import LmdbStore
from fsr_plugins.without_cuda import (
    complete_torchvision,
    cuda_stays_on,
    deform_conv2d,
    fused_leaky_relu,
    roi_align,
)


def test_fused_leaky_relu_is_what_it_says() -> None:
    image, bias = torch.randn(2, 3, 4, 5), torch.randn(3)
    shifted = image + bias[:, None, None]
    expected = torch.where(shifted > 0, shifted, 0.1 * shifted) * 1.5
    torch.testing.assert_close(fused_leaky_relu(image, bias, 0.1, 1.5), expected)
    torch.testing.assert_close(fused_leaky_relu(image[:, :, 0, 0], bias, 0.1, 1.5), expected[:, :, 0, 0])


def test_without_offsets_a_deformable_convolution_is_a_convolution() -> None:
    image, weight, bias = torch.randn(2, 6, 7, 9), torch.randn(4, 3, 3, 3), torch.randn(4)
    offset, mask = torch.zeros(2, 2 * 3 * 9, 4, 5), torch.full((2, 3 * 9, 4, 5), 0.5)
    plain = functional.conv2d(image, weight, None, 2, 1, 1, 2)
    torch.testing.assert_close(deform_conv2d(image, offset, weight, bias, 2, 1), plain + bias[:, None, None])
    torch.testing.assert_close(deform_conv2d(image, offset, weight, None, 2, 1, 1, mask), plain / 2)


def test_offsets_say_where_it_looks() -> None:
    """One tap in each of two groups of channels, by its definition: bilinear, and nothing beyond the border."""
    generator = torch.Generator().manual_seed(0)
    image, weight = torch.randn(1, 2, 4, 5, generator=generator), torch.tensor([[[[2.0]], [[3.0]]]])
    offset = 3 * torch.randn(1, 4, 4, 5, generator=generator)
    expected = np.zeros((4, 5))
    for y in range(4):
        for x in range(5):
            for channel, factor in ((0, 2.0), (1, 3.0)):
                at_y, at_x = y + offset[0, 2 * channel, y, x].item(), x + offset[0, 2 * channel + 1, y, x].item()
                for row in range(4):
                    for column in range(5):
                        near = max(0, 1 - abs(at_y - row)) * max(0, 1 - abs(at_x - column))
                        expected[y, x] += factor * near * image[0, channel, row, column].item()
    found = deform_conv2d(image, offset, weight)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-5)


def mean_of_bin(image: np.ndarray, box: list[float], bins: tuple[int, int], place: tuple[int, int]) -> float:
    """The mean of one bin of a box, by its definition: bilinear samples, as many along a side as it has pixels."""
    x1, y1, x2, y2 = box
    total, count = 0.0, 0
    high, wide = max(1, y2 - y1) / bins[0], max(1, x2 - x1) / bins[1]
    rows, columns = math.ceil(high), math.ceil(wide)
    for row in range(rows):
        for column in range(columns):
            y, x = y1 + (place[0] + (row + 0.5) / rows) * high, x1 + (place[1] + (column + 0.5) / columns) * wide
            count += 1
            if y < -1 or x < -1 or y > image.shape[0] or x > image.shape[1]:
                continue
            y, x = min(max(y, 0), image.shape[0] - 1), min(max(x, 0), image.shape[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
            upper = image[top, left] * (1 - x + left) + image[top, right] * (x - left)
            lower = image[bottom, left] * (1 - x + left) + image[bottom, right] * (x - left)
            total += upper * (1 - y + top) + lower * (y - top)
    return total / count


#: Within, with more samples than one a bin; beyond the border, by less and by more than a pixel; less than a pixel.
BOXES = [[1.2, 2.1, 6.4, 8.9], [-0.7, -2.5, 4.2, 3.0], [5.5, 6.0, 13.0, 12.5], [3.0, 3.0, 3.2, 3.1]]


def test_boxes_are_the_means_of_their_samples() -> None:
    image = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    found = roi_align(image, [torch.tensor(BOXES), torch.tensor(BOXES[:1])], output_size=(3, 2))
    assert found.shape == (5, 2, 3, 2)
    for number, (of, box) in enumerate([(0, box) for box in BOXES] + [(1, BOXES[0])]):
        for channel, row, column in np.ndindex(2, 3, 2):
            expected = mean_of_bin(image[of, channel].double().numpy(), box, (3, 2), (row, column))
            assert found[number, channel, row, column].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(not torchvision.extension._has_ops(), reason="needs torchvision's compiled operators")
@pytest.mark.parametrize('given', [{}, {'aligned': True}, {'sampling_ratio': 3}, {'spatial_scale': 0.5}])
def test_boxes_and_their_gradients_are_those_of_torchvisions_extension(given: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    boxes, results = torch.cat([numbers, torch.tensor(BOXES)], dim=1), []
    weights = torch.randn(4, 2, 5, 4, generator=generator)
    pixels = torch.randn(2, 2, 9, 8, generator=generator)
    for function in (roi_align, torchvision.ops.roi_align):
        image = pixels.clone().requires_grad_()
        found = function(image, boxes, (5, 4), **given)
        (found * weights).sum().backward()
        results.append((found, image.grad))
    torch.testing.assert_close(results[0], results[1])


def test_a_torchvision_without_operators_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('deform_conv2d', 'roi_align'):
        monkeypatch.setattr(torchvision.ops, name, None)
    monkeypatch.setattr(torchvision.extension, '_has_ops', lambda: True)
    complete_torchvision()
    assert torchvision.ops.roi_align is None
    monkeypatch.setattr(torchvision.extension, '_has_ops', lambda: False)
    complete_torchvision()
    assert (torchvision.ops.roi_align, torchvision.ops.deform_conv2d) == (roi_align, deform_conv2d)
    assert roi_align(torch.ones(1, 3, 4, 4), torch.zeros(0, 5), 2).shape == (0, 3, 2, 2)


@pytest.mark.parametrize('pack', [DeformConvPack, ModulatedDeformConvPack])
def test_basicsrs_deformable_layers_learn_on_a_cpu(pack: type[nn.Module]) -> None:
    layer = pack(4, 4, 3, padding=1, deformable_groups=2)
    layer(torch.rand(2, 4, 8, 8)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_basicsrs_stylegan2_and_its_penalties_work_on_a_cpu() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(16, num_style_feat=8, num_mlp=1, narrow=0.03)
    discriminator = StyleGAN2Discriminator(16, narrow=0.03)
    faces, latents = generator([torch.randn(2, 8)], return_latents=True)
    assert faces.shape == (2, 3, 16, 16)
    path, _, _ = g_path_regularize(faces, latents, 0)
    real = torch.rand(2, 3, 16, 16, requires_grad=True)
    (path + r1_penalty(discriminator(real), real)).backward()
    norms = [p.grad.norm().item() for net in (generator, discriminator) for p in net.parameters() if p.grad is not None]
    assert np.isfinite(norms).all() and max(norms) > 0


def test_cuda_is_where_the_model_is() -> None:
    place = torch.device('cpu')
    with cuda_stays_on(place):
        moved = [
            torch.zeros(2, device='cuda'), torch.rand(2).cuda(), torch.rand(2).to('cuda'),
            nn.Linear(2, 2).cuda().weight,
            torch.rand(2).to(torch.device('cuda', 0), torch.float64), torch.randn(2, device=torch.device('cuda')),
        ]  # fmt: skip
    assert all(tensor.device == place for tensor in moved) and moved[4].dtype == torch.float64
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)):
            torch.zeros(2, device='cuda')


def test_compressed_images_can_be_filtered() -> None:
    images = torch.rand(2, 3, 32, 32)
    unmended = DiffJPEG.forward.__wrapped__(DiffJPEG(differentiable=False), images.clone(), quality=90)
    assert not unmended.is_contiguous()
    found = DiffJPEG(differentiable=False)(images.clone(), quality=90)
    assert torch.equal(found, unmended)
    assert filter2D(found, torch.full((1, 3, 3), 1 / 9)).shape == images.shape


def test_adam_takes_whole_numbers_for_betas() -> None:
    model = BaseModel({'num_gpu': 0, 'is_train': True})
    parameters = [nn.Parameter(torch.zeros(1))]
    with pytest.raises((TypeError, ValueError)):
        BaseModel.get_optimizer.__wrapped__(model, 'Adam', parameters, 0.1, betas=(0, 0.99))
    assert model.get_optimizer('Adam', parameters, 0.1, betas=(0, 0.99)).defaults['betas'] == (0.0, 0.99)


def test_an_lmdb_is_opened_once_a_process(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images/a.png'), np.full((4, 4, 3), 9, np.uint8))
    place = tmp_path / 'set.lmdb'
    make_lmdb_from_imgs(str(tmp_path / 'images'), str(place), ['a.png'], ['a'], map_size=2**20)
    store = LmdbStore(place)
    assert store.get('a').image.tolist() == np.full((4, 4, 3), 9).tolist()
    clients = [FileClient('lmdb', db_paths=[place], client_keys=['gt']) for _ in range(2)]
    content = {client.get('a', 'gt') for client in clients}
    assert [imfrombytes(each).tolist() for each in content] == [np.full((4, 4, 3), 9).tolist()]
    assert sys.modules['lmdb'] is lmdb
    child = os.fork()
    if child == 0:
        again = FileClient('lmdb', db_paths=[place], client_keys=['gt']).get('a', 'gt')
        os._exit(0 if {again} == content else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    release(place)
