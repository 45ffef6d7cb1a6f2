"""CodeFormer, which `spandrel_extra_arches` knows where a user has installed it: loaded, run, measured, exported."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_suite
import torch
from torch import Tensor

import fsr_plugins
from fsr_plugins.cli import main
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

spandrel = pytest.importorskip('spandrel', reason='needs the extra spandrel')
extra = pytest.importorskip('spandrel_extra_arches', reason='needs the package spandrel_extra_arches')
#: Its smallest kind: how many channels it has is not in its file.
SMALL = {'dim_embd': 64, 'n_head': 8, 'n_layers': 1, 'codebook_size': 16}


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file laid out as the published one, with random weights."""
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp('published') / 'codeformer.pth'
    torch.save({'params_ema': CodeFormer(**SMALL).state_dict()}, file)
    return file


@pytest.fixture(scope='module')
def descriptor(published: Path) -> spandrel.ImageModelDescriptor:
    """The network as spandrel itself reads and calls it."""
    extra.install(ignore_duplicates=True)
    return spandrel.ModelLoader().load_from_file(published).eval()


def image_of(sr: Tensor) -> np.ndarray:
    return np.asarray(sr[0].permute(1, 2, 0).mul(255).round().byte())


def face(number: int) -> np.ndarray:
    return cv2.resize(np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8), (512, 512))


@pytest.mark.long
def test_it_is_loaded_and_restores_a_face(
    published: Path, descriptor: spandrel.ImageModelDescriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = fsr_plugins.load(published)
    assert net.meta['arch'] == {'type': 'spandrel:CodeFormer'} and net.meta['scale'] == 1
    assert set(net.meta['versions']) == {'spandrel', 'spandrel_extra_arches'}
    cv2.imwrite('face.png', face(0)[:, :, ::-1])
    arguments = ['infer', 'face.png', '-c', str(published), '-o', 'out', '--precision', 'fp32', '--engine', 'torch']
    assert main(arguments) == 0
    found = cv2.imread('out/face.png')[:, :, ::-1].astype(int)
    lq = torch.tensor(face(0)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        expected = image_of(descriptor(lq))
    assert expected.std() > 5
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01


@pytest.mark.long
def test_a_suite_measures_it(
    published: Path, descriptor: spandrel.ImageModelDescriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(('train', 'test')):
        Path(name).mkdir()
        cv2.imwrite(f'{name}/0.png', face(number)[:, :, ::-1])
        store = FolderStore(Path(name))
        write_lmdb(Path(f'{name}.lmdb'), (Face(key, store.image(key)) for key in store.keys), 'raw')
    file = tiny_suite.write_suite(
        tmp_path, scale=1, degradation={'type': 'BicubicDown', 'scale': 1}, curves=None, papers=None,
        metrics={'psnr': {'type': 'PSNR'}}, cost={'batches': [1], 'repeats': 1},
        pictures={'faces': 1, 'worst': 1, 'details': 1},
        entries={
            'bicubic': {'type': 'bicubic'},
            'theirs': {'checkpoint': str(published), 'unfair': 'trained elsewhere'},
        },
    )  # fmt: skip
    assert main(['bench', '-opt', str(file), '--json', 'found.json']) == 0
    entry = json.loads(Path('found.json').read_text(encoding='utf-8'))['entries']['theirs']
    with torch.inference_mode():
        made = image_of(descriptor(torch.tensor(face(1)).permute(2, 0, 1)[None].float() / 255))
    psnr = 10 * np.log10(255**2 / np.square(made.astype(float) - face(1)).mean())
    assert entry['arch'] == {'type': 'spandrel:CodeFormer'}
    assert entry['figures']['psnr']['mean'] == pytest.approx(psnr, abs=0.02)
