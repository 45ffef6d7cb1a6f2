"""What was added later, on a GPU beside the CPU: teachers, features, recognisers, choices, photographs, clips.

``FSR_TEST_DEVICE=cpu pytest tests/test_later_parts_on_gpu.py`` tries them without a GPU. fp32 on a GPU is TF32, with
ten bits of mantissa, so that results differ by some thousandths; pictures may differ by three of 255 levels.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from test_on_gpu import faces, losses, method

from fsr_plugins.archs.recognition import ArcFace, DlibResNet, FaceNet, MobileFaceNet, SphereFace20
from fsr_plugins.cli import main
from fsr_plugins.config.settings import MEASURED
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.engine.tuning import candidates
from fsr_plugins.losses.efficientnet import EfficientNetLite0
from fsr_plugins.models import LinearModel
from fsr_plugins.models.embedding import Embedder
from fsr_plugins.registry import build_network
from fsr_plugins.restore.background import Background
from fsr_plugins.restore.forward import Forward
from fsr_plugins.restore.network import FaceNetwork

pytestmark = pytest.mark.gpu

CPU = torch.device('cpu')
#: Of the largest value: what TF32 through some ten layers may change.
RELATIVE = 2e-2


def gpus(device: torch.device) -> int:
    return int(device.type == 'cuda')


def alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=RELATIVE * float(expected.abs().max()))


def both(device: torch.device, make: Callable[[], torch.nn.Module], images: torch.Tensor) -> None:
    """Compares a network of the same weights on both devices."""
    torch.manual_seed(0)
    net = make().eval()
    with torch.inference_mode():
        expected = net(images)
        alike(net.to(device)(images.to(device)), expected)


@pytest.mark.parametrize('weight', [0.0, 0.5])
def test_a_teacher_is_asked_as_on_the_cpu(device: torch.device, weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in (0, gpus(device)):
        model, batch = method(monkeypatch, 'pkdn.yml', 'student', num_gpu=number)
        model.distillation.feature_weight = weight
        found.append(losses(model, batch, 2))
    for ours, theirs in zip(*found, strict=True):
        assert len(ours) == (3 if weight else 2)  # of HR, of the teacher's images, of its features
        assert ours == pytest.approx(theirs, rel=RELATIVE, abs=1e-4)


def test_aligned_faces_and_their_gradients_are_those_of_the_cpu(device: torch.device) -> None:
    torch.manual_seed(0)
    net = MobileFaceNet().eval()
    points = torch.tensor([[22.0, 24], [42, 25], [32, 36], [24, 46], [40, 46]]).repeat(2, 1, 1)
    embeddings, gradients = [], []
    for place in (CPU, device):
        images = faces(2, 64).to(place).requires_grad_()
        found = Embedder('landmarks').embed(net.to(place), images, {'landmarks': points.to(place)}, 'landmarks')
        found[:, 0].sum().backward()
        assert images.grad is not None
        embeddings.append(found.detach())
        gradients.append(images.grad)
    alike(embeddings[1], embeddings[0])
    assert float(torch.nn.functional.cosine_similarity(*(each.cpu().flatten() for each in gradients), dim=0)) > 0.99


def test_lite0_features_are_those_of_the_cpu(device: torch.device) -> None:
    both(device, EfficientNetLite0, faces(2, 64))


@pytest.mark.parametrize('recogniser', [ArcFace, DlibResNet, FaceNet, MobileFaceNet, SphereFace20])
def test_embeddings_are_those_of_the_cpu(device: torch.device, recogniser: type[Any]) -> None:
    both(device, recogniser, faces(2, 64))


@pytest.mark.parametrize('rank', [0, 4, 9])
def test_ridge_is_that_of_the_cpu(device: torch.device, rank: int) -> None:
    lq = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    gt = torch.nn.functional.interpolate(lq, scale_factor=2, mode='bilinear') ** 2
    found = []
    for number in (0, gpus(device)):
        block = {'type': 'LinearFace', 'size': 3, 'scale': 2, 'rank': rank, 'num_ch': 1}
        opt = tiny.stage({'ridge': 0.05}, scale=2, degradation=None, network_g=block, num_gpu=number)
        model = LinearModel(opt)
        for step in range(4):
            model.lq, model.gt = (images[step::4].to(model.device) for images in (lq, gt))
            model.optimize_parameters(step + 1)
        model.solve()
        with torch.inference_mode():
            found.append(model.net_g(lq.to(model.device)).cpu())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=2e-3)


def test_what_auto_takes_is_one_of_the_ways_and_makes_the_same_picture(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    torch.manual_seed(0)
    net = build_network(tiny.EDSR).eval()
    lq = faces(4, 16)
    with torch.inference_mode():
        expected = net(lq)
        forward = Forward(net.to(device), device, 'auto', 'torch')
        found = forward(lq.to(device)).cpu()
    assert forward.way((16, 16)) in ('fp32', 'bf16')
    assert float((found.clamp(0, 1) - expected.clamp(0, 1)).abs().mean()) * 255 <= 1
    ways = candidates(list(MEASURED), device)
    assert ways and any(way.get('compile') for way in ways) == (device.type == 'cuda')


def test_a_training_that_is_auto_says_what_it_took(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces')
    options = tiny.options() | {'num_gpu': gpus(device), 'precision': 'auto', 'channels_last': 'auto'}
    assert main(['train', '-opt', str(tiny.write_options(tmp_path / 'tiny.yml', options))]) == 0
    assert (tmp_path / 'experiments/tiny/summary.json').is_file()
    assert list((tmp_path / 'cache').rglob('training.json'))


def test_other_peoples_models_begin_as_on_the_cpu(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent / 'models'))
    from test_hosted import own_options

    tiny.write_faces(tmp_path / 'faces')
    figures = []
    for number in (0, gpus(device)):
        options = copy.deepcopy(own_options()) | {'num_gpu': number}
        options['train']['total_iter'], options['val']['val_freq'] = 3, 3
        assert main(['train', '-opt', str(tiny.write_options(tmp_path / 'own.yml', options))]) == 0
        figures.append(json.loads((tmp_path / 'experiments/own/summary.json').read_text())['validation'])
        shutil.rmtree(tmp_path / 'experiments')
    assert figures[0]['held']['result']['psnr'] == pytest.approx(figures[1]['held']['result']['psnr'], abs=0.05)


@pytest.mark.parametrize('mode', ['ram', 'disk'])
def test_kept_pixels_reach_the_device_unchanged(
    device: torch.device, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tiny.write_faces(tmp_path / 'faces', 8, 16)
    block = {'name': 's', 'type': 'FaceDataset', 'dataroot_gt': str(root), 'phase': 'train', 'scale': 4, 'seed': 0}
    expected = np.stack([cv2.imread(str(root / f'{number}.png'))[..., ::-1] for number in range(8)])
    dataset = FaceDataset(block | {'cache': mode, 'batch_size_per_gpu': 8})
    with TrainLoader(dataset, 8, pin_memory=device.type == 'cuda') as loader:
        batches = iter(loader)
        for _ in range(3):  # the later ones are what was kept
            batch = next(batches)
            moved = batch['gt'].to(device, non_blocking=True).cpu().numpy()
            assert np.array_equal(moved, expected[batch['index'].numpy()])


def test_a_photograph_in_tiles_is_that_of_the_cpu(device: torch.device) -> None:
    torch.manual_seed(0)
    net = build_network(tiny.EDSR).eval()
    image = (faces(1, 200)[0].permute(1, 2, 0) * 255).byte().numpy()
    found = []
    for place in (CPU, device):
        network = FaceNetwork(copy.deepcopy(net).to(place), 4, device=place)
        found.append(Background(network).enlarged(image, 4).astype(int))
    assert found[0].shape == (800, 800, 3)
    assert np.abs(found[0] - found[1]).max() <= 3


def test_a_clip_is_restored_as_on_the_cpu(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent / 'restore'))
    from test_restore import POINTS, write_checkpoint
    from tiny_clips import RedSquares, frame, frames_of, write_clip

    from fsr_plugins.restore import restorers

    monkeypatch.setattr(restorers, 'open_detector', lambda *_: RedSquares())
    write_checkpoint(tmp_path / 'net.pth', [{'size': [32, 32], 'points': POINTS.tolist()}])
    clip = write_clip(tmp_path / 'a.mp4', [frame(number, 2) for number in range(8)], [40 * n for n in range(8)])
    made = []
    for out, place in (('cpu', 'cpu'), ('other', str(device))):
        assert main(['infer', clip.name, '-c', 'net.pth', '-o', out, '--most', '3', '--device', place]) == 0
        made.append(np.stack(frames_of(tmp_path / out / clip.name)).astype(int))
    assert made[0].shape == made[1].shape and len(made[0]) == 8
    assert np.abs(made[0] - made[1]).mean() < 1  # H.264 spreads a level's difference
