"""Networks of other programs, known by their tensors: opened, run as their descriptors run them, or refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import others_networks
import pytest
import torch
from others_networks import PUBLISHED, write
from PIL import Image

import fsr_plugins
from fsr_plugins.checkpoints import about, others, package_versions
from fsr_plugins.cli import main
from fsr_plugins.errors import UserError
from fsr_plugins.restore import Restorer
from fsr_plugins.stores.images import encode_png

spandrel = pytest.importorskip('spandrel', reason='needs the extra spandrel')
WHOLE = [name for name in PUBLISHED if name != 'restoreformer']


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a picture in it; what was measured of a network before is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    picture = np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8)
    Path('a.png').write_bytes(encode_png(picture))
    return tmp_path


def by_its_descriptor(file: Path, picture: np.ndarray) -> np.ndarray:
    """What a network makes of a picture as spandrel itself reads and calls it."""
    found = spandrel.ModelLoader().load_from_file(file)
    lq = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    return np.asarray(found(lq)[0].permute(1, 2, 0).mul(255).round().byte())


def error_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one message with which a command ends."""
    assert main([*arguments]) == 2
    said = capsys.readouterr().err
    assert 'Traceback' not in said and said.count('error:') <= 1
    return said


@pytest.mark.parametrize('name', WHOLE)
def test_a_picture_is_what_the_descriptor_makes_of_it(name: str, folder: Path) -> None:
    file = folder / write(name, folder).name
    assert main(['infer', 'a.png', '-c', str(file), '-o', 'out', '--precision', 'fp32', '--engine', 'torch']) == 0
    before, after = (np.asarray(Image.open(each)) for each in ('a.png', 'out/a.png'))
    expected = by_its_descriptor(file, before)
    assert after.shape == (21 * PUBLISHED[name].scale, 34 * PUBLISHED[name].scale, 3)
    assert after.std() > 5, 'a plain colour would be equal for any network'
    # Where a number lies between two levels, the layout in memory decides.
    assert np.abs(after.astype(int) - expected).max() <= 1 and (after != expected).mean() < 0.01


def test_a_key_that_is_asked_for_is_used_or_another_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = torch.load(write(WHOLE[0], folder), weights_only=True)
    black = {name: 0 * each for name, each in state.items()}
    torch.save({'params_ema': state, 'step': 3}, 'one.pth')
    torch.save({'params_ema': black, 'params': state}, 'two.pth')
    lq = torch.rand(1, 3, 16, 16)

    def result(file: str, key: str | None = None) -> torch.Tensor:
        return fsr_plugins.checkpoints.load(file, param_key=key)(lq)

    with caplog.at_level('INFO'):
        assert torch.equal(result('one.pth', 'params'), result('one.pth'))
    assert "has no weights under 'params': using 'params_ema'" in caplog.text
    assert torch.equal(result('two.pth', 'params'), result('one.pth'))
    assert not torch.equal(result('two.pth'), result('one.pth'))
    with pytest.raises(UserError, match="no weights under 'step'"):
        result('two.pth', 'step')


def test_a_face_network_takes_ffhqs_faces_of_512(folder: Path) -> None:
    face = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    file = write('restoreformer', folder)
    restorer = Restorer.open(file, device='cpu', precision='fp32', engine='torch')
    assert restorer.network.size == (512, 512) and restorer.network.scale == 1
    assert restorer.network.points is not None
    left, right, nose = restorer.network.points[:3]
    assert 150 < left[0] < nose[0] < right[0] < 362 and left[1] < nose[1]
    assert restorer.kind((400, 400)) == 'face' and restorer.kind((1200, 1600)) == 'photograph'
    expected = by_its_descriptor(file, face)
    assert np.abs(restorer(face).image.astype(int) - expected).max() <= 1
    assert expected.std() > 5


def test_a_large_picture_goes_through_in_tiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsr_plugins.restore import restorers

    file = write('compact', folder)
    picture = np.random.default_rng(0).integers(0, 256, (300, 310, 3), np.uint8)
    restorer = Restorer.open(file, device='cpu', precision='fp32', engine='torch')
    whole = restorer(picture).image
    monkeypatch.setattr(restorers, 'MOST_AT_ONCE', 1000)
    seen: list[tuple[int, ...]] = []
    inner = restorer.network.net
    object.__setattr__(restorer.network, 'net', lambda lq: seen.append(tuple(lq.shape)) or inner(lq))
    tiled = restorer(picture).image
    assert len(seen) == 4 and set(seen) == {(1, 3, 256, 256)}
    # Seams differ by what lies beyond a tile alone: this network sees four pixels far.
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_code_that_looks_at_one_layout_runs(folder: Path) -> None:
    network = Restorer.open(write('compact', folder), device='cpu', precision='fp32', engine='torch').network
    module = network.net.net.net
    # As GFPGAN does with a feature map.
    flat: list[int] = []
    module.body[2].register_forward_pre_hook(lambda _, given: flat.append(given[0].view(2, -1).shape[1]))
    network([np.zeros((9, 7, 3), np.uint8)] * 2)
    assert flat == [8 * 9 * 7]


def test_a_network_is_exported(folder: Path) -> None:
    write('compact', folder)
    assert main(['export', '-c', 'compact.pth', '-o', 'net.pt2', '--size', '8', '12']) == 0
    lq = torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    made = torch.export.load('net.pt2').module()(lq)
    with torch.inference_mode():
        assert torch.allclose(made, fsr_plugins.load('compact.pth')(lq), atol=1e-5)
    assert made.std() > 0.02


def test_it_is_described_as_a_checkpoint_is(folder: Path) -> None:
    meta = about(write('span', folder))
    assert meta['arch'] == {'type': 'spandrel:SPAN'} and meta['scale'] == 2
    assert (
        package_versions('spandrel:SPAN')['spandrel'] == spandrel.__version__ if hasattr(spandrel, '__version__') else 1
    )
    assert package_versions('EDSR') == {} and package_versions(None) == {}


# ---- what is refused -------------------------------------------------------------------------------------------------


class Code:
    """A pickle of it runs a command."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ('touch ran',)


def random_bytes(folder: Path) -> str:
    (folder / 'net.pth').write_bytes(np.random.default_rng(0).bytes(4096))
    return 'is no checkpoint'


def code(folder: Path) -> str:
    (folder / 'net.pth').write_bytes(pickle.dumps({'params': Code()}, protocol=2))
    return 'it was not run'


def no_network(folder: Path) -> str:
    torch.save({'params': {'a.weight': torch.ones(3), 'b.bias': torch.ones(2)}}, folder / 'net.pth')
    return 'no network that spandrel knows'


def no_tensors(folder: Path) -> str:
    torch.save({'epoch': 3}, folder / 'net.pth')
    return 'holds no network weights'


def wrong_shapes(folder: Path) -> str:
    state = others_networks.swinir().state_dict()
    state['conv_first.weight'] = torch.ones(5, 3, 3, 3)
    torch.save({'params': state}, folder / 'net.pth')
    return 'looks like a network that spandrel knows, but does not fit it'


def one_dimension(folder: Path) -> str:
    torch.save({'params': {key: torch.ones(4) for key in others_networks.compact().state_dict()}}, folder / 'net.pth')
    return 'does not fit it'


def many_layers(folder: Path) -> str:
    torch.save(
        {'params': others_networks.renumbered(others_networks.compact().state_dict(), '99999999')}, folder / 'net.pth'
    )
    return 'counts more layers than'


def wide_window(folder: Path) -> str:
    """The positions of a window of 600 pixels would take a terabyte."""
    state = others_networks.swinir().state_dict()
    for key in state:
        if key.endswith('relative_position_index'):
            state[key] = torch.zeros(600**2, 1, dtype=torch.long)
    torch.save({'params': state}, folder / 'net.pth')
    return 'far larger than its tensors'


def not_finite(folder: Path) -> str:
    state = others_networks.compact().state_dict()
    state['body.0.weight'][0, 0, 0, 0] = float('nan')
    torch.save({'params': state}, folder / 'net.pth')
    return 'no finite numbers'


def grey(folder: Path) -> str:
    from spandrel.architectures.Compact import Compact

    torch.save(Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=2).state_dict(), folder / 'net.pth')
    return 'a network from RGB to RGB is needed'


FALSE = [random_bytes, code, no_network, no_tensors, wrong_shapes, one_dimension, many_layers, wide_window, not_finite,
         grey]  # fmt: skip


@pytest.mark.parametrize('make', FALSE, ids=lambda make: make.__name__)
def test_a_false_file_ends_with_one_message(
    make: Callable[[Path], str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = make(folder)
    assert said in error_of('infer', 'a.png', '-c', 'net.pth', '-o', 'out', capsys=capsys)
    with pytest.raises(UserError):
        fsr_plugins.load('net.pth')
    assert not Path('ran').exists() and not Path('out').exists()


def test_without_the_package_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write('compact', folder)
    monkeypatch.setattr(others, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'fsr_plugins\[spandrel\]'"):
        fsr_plugins.load(file)


def test_a_broken_file_of_this_toolkit_is_not_taken_for_anothers(folder: Path) -> None:
    torch.save({'params': others_networks.compact().state_dict(), 'meta': {'scale': 2}}, folder / 'net.pth')
    with pytest.raises(UserError, match="its 'meta' has no 'arch'"):
        fsr_plugins.load('net.pth')
