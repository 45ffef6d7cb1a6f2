"""This toolkit's checkpoints in programs that are built on spandrel."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import tiny_adapter
import torch

import fsr_plugins
from fsr_plugins.checkpoints import described, save_network, write_weights
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network

spandrel = pytest.importorskip('spandrel', reason='needs the extra spandrel')

#: What shapes do not tell is not as by default: additions to what is enlarged, its kind, and edges.
BLOCKS: dict[str, tuple[dict[str, Any], int, int]] = {
    'SRGANGenerator': ({'num_feat': 8, 'num_block': 1, 'scale': 4, 'add_bicubic': True}, 4, 1),
    'PKDNStudent': (
        {'num_feat': 16, 'num_block': 1, 'num_down': 2, 'scale': 2, 'pre_upsample': 'nearest', 'global_skip': True},
        2,
        2,
    ),
    'TSNetSR': (
        {'num_feat': 8, 'num_groups': 1, 'scale': 4, 'priors': ['none', 'dog', 'dog'], 'dog_sigmas': [0.5, 3.0]},
        4,
        1,
    ),
    'ISRKDGenerator': ({'num_feat': 8}, 8, 1),
}


@pytest.fixture
def registry() -> Any:
    """Spandrel's own archs and this toolkit's, in a registry of its own."""
    from fsr_plugins.checkpoints.spandrel import register

    found = spandrel.MAIN_REGISTRY.copy()
    added = register(found)
    assert set(BLOCKS) <= set(added)
    assert register(found) == [], 'called again there is nothing new'
    return found


def written(arch: str, folder: Path, **meta: Any) -> Path:
    """A checkpoint of an arch with random weights, trained for HR of 32 pixels."""
    arguments, scale, _ = BLOCKS[arch]
    block = {'type': arch, **arguments}
    torch.manual_seed(0)
    file = folder / 'net_g_latest.pth'
    about = {'arch': block, 'scale': scale, 'sizes': {'train': 32}, 'net': 'net_g', **meta}
    save_network(file, {'params': build_network(block), 'params_ema': build_network(block)}, about)
    return file


@pytest.mark.parametrize('arch', BLOCKS)
def test_a_checkpoint_loads_with_scale_name_sizes_and_its_own_images(arch: str, registry: Any, tmp_path: Path) -> None:
    file = written(arch, tmp_path)
    found = spandrel.ModelLoader(registry=registry).load_from_file(file)
    _, scale, multiple = BLOCKS[arch]
    assert found.architecture.name == arch and registry[found.architecture.id].architecture is found.architecture
    assert (found.scale, found.purpose) == (scale, 'FaceSR')
    assert found.size_requirements.multiple_of == multiple and not found.size_requirements.square
    side = 32 // scale + multiple
    lq = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        averaged, last = (fsr_plugins.checkpoints.load(file, param_key=key)(lq) for key in ('params_ema', 'params'))
    assert torch.equal(found(lq), averaged.clamp(0, 1)) and not torch.equal(found(lq), last.clamp(0, 1))


def test_the_one_call_serves_every_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsr_plugins.checkpoints import spandrel as ours

    before = spandrel.MAIN_REGISTRY.copy()
    try:
        ours.register()
        file = written('SRGANGenerator', tmp_path)
        assert spandrel.ModelLoader().load_from_file(file).architecture.name == 'SRGANGenerator'
    finally:
        vars(spandrel.MAIN_REGISTRY).update(vars(before))


def test_a_plugins_arch_is_registered_as_well(registry: Any, tmp_path: Path) -> None:
    file = tiny_adapter.write_checkpoint(tmp_path / 'net.pth')
    found = spandrel.ModelLoader(registry=registry).load_from_file(file)
    assert found.architecture.name == 'TinyAdaptNet' and found.scale == 2


def test_a_bundled_network_loads_by_its_state_dict(registry: Any) -> None:
    from fsr_plugins.checkpoints.spandrel import state_dict_of

    found = spandrel.ModelLoader(registry=registry).load_from_state_dict(state_dict_of('face_x4'))
    lq = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(found(lq), fsr_plugins.load('face_x4')(lq).clamp(0, 1))
    with pytest.raises(UserError, match="no weights under 'params_emma'"):
        state_dict_of('face_x4', 'params_emma')


def test_spandrels_own_networks_stay_its_own(registry: Any) -> None:
    from others_networks import esrgan

    found = spandrel.ModelLoader(registry=registry).load_from_state_dict(esrgan().state_dict())
    assert found.architecture.id == 'ESRGAN'


def test_a_network_that_enlarges_no_image_is_refused(registry: Any, tmp_path: Path) -> None:
    block = {'type': 'SRGANDiscriminator', 'num_feat': 4, 'input_size': 32, 'num_fc': 4}
    meta = {'arch': block, 'scale': 4, 'sizes': {'train': 32}}
    save_network(tmp_path / 'net_d.pth', {'params': build_network(block)}, meta)
    with pytest.raises(UserError, match='SRGANDiscriminator, which does not enlarge images of 8×8 4 times'):
        spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / 'net_d.pth')


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        ({'arch': {'type': 'SRGANGenerator', 'num_block': 10**9}}, 'far larger than its tensors'),
        ({'arch': {'type': 'SRGANGenerator', 'num_feat': 9}}, 'does not fit SRGANGenerator'),
        ({'arch': {'type': 'SRGANGenerator'}, 'scale': 0}, "'meta.scale' is 0"),
    ],
)
def test_a_state_dict_that_says_false_things_is_refused(
    said: dict[str, Any], message: str, registry: Any, tmp_path: Path
) -> None:
    state = OrderedDict(build_network({'type': 'SRGANGenerator', **BLOCKS['SRGANGenerator'][0]}).state_dict())
    state._metadata = {'': {'fsr_plugins': said}}  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=message):
        spandrel.ModelLoader(registry=registry).load_from_state_dict(state)


def test_what_a_state_dict_says_is_what_its_file_says_last(tmp_path: Path) -> None:
    file = written('SRGANGenerator', tmp_path)
    content = described(file)
    content['meta'] = {**content['meta'], 'experiment': 'another'}
    write_weights(file, content)
    state = torch.load(file, weights_only=True)
    for key in ('params', 'params_ema'):
        assert state[key]._metadata == {'': {'fsr_plugins': state['meta']}}
    assert state['meta']['experiment'] == 'another'
    build_network(state['meta']['arch']).load_state_dict(state['params'])
