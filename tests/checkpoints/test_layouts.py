"""Layouts of network files: this toolkit's, and those of other people."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fsr_plugins.checkpoints import fit, load_weights, read_weights, state_in, unwrapped
from fsr_plugins.errors import UserError


class Held(nn.Module):
    """A network that keeps what it computes with under one name."""

    def __init__(self, name: str = 'module') -> None:
        super().__init__()
        self.add_module(name, nn.Conv2d(3, 4, 1))


def state(net: nn.Module) -> dict[str, Tensor]:
    """Its tensors."""
    return {key: tensor.clone() for key, tensor in net.state_dict().items()}


def same(net: nn.Module, wanted: dict[str, Tensor]) -> bool:
    """Whether the network has these tensors."""
    found = net.state_dict()
    return found.keys() == wanted.keys() and all(found[key].equal(wanted[key]) for key in wanted)


@pytest.mark.parametrize('name', ['module', '_orig_mod'])
def test_a_network_with_an_attribute_of_a_wrappers_name_loads_its_own_file(name: str, tmp_path: Path) -> None:
    source, net = Held(name), Held(name)
    torch.save({'params': source.state_dict()}, tmp_path / 'net.pth')
    assert not same(net, state(source))
    load_weights(net, str(tmp_path / 'net.pth'))
    assert same(net, state(source))


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'generator.'])
def test_a_prefix_before_every_name_is_cut_off(prefix: str, tmp_path: Path) -> None:
    source, net = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
    torch.save({prefix + key: value for key, value in source.state_dict().items()}, tmp_path / 'net.pth')
    load_weights(net, str(tmp_path / 'net.pth'))
    assert same(net, state(source))


def test_a_compiled_network_with_an_attribute_module_loads() -> None:
    source, net = Held(), Held()
    fit(net, {f'_orig_mod.{key}': value for key, value in source.state_dict().items()}, 'a file')
    assert same(net, state(source))


def test_a_prefix_before_some_names_stays() -> None:
    some = {'module.weight': 1, 'bias': 2}
    assert unwrapped(some) == some
    assert unwrapped(some, ['weight', 'bias']) == some
    assert unwrapped({'module.weight': 1, 'module.bias': 2}, ['weight', 'bias']) == {'weight': 1, 'bias': 2}
    assert unwrapped({'encoder.weight': 1}) == {'encoder.weight': 1}, 'no wrapper of torch, and no names to compare'


@pytest.mark.parametrize('holder', [None, 'params', 'params_ema', 'g_ema', 'net_state_dict', 'state_dict'])
@pytest.mark.parametrize('param_key', ['params', 'params_ema', None])
def test_weights_are_found_where_others_keep_them(holder: str | None, param_key: str | None, tmp_path: Path) -> None:
    source, net = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    content = source.state_dict() if holder is None else {'epoch': 3, holder: source.state_dict()}
    torch.save(content, tmp_path / 'net.pth')
    load_weights(net, str(tmp_path / 'net.pth'), param_key=param_key)
    assert same(net, state(source))


def test_the_weights_asked_for_are_taken_of_several(tmp_path: Path) -> None:
    file = str(tmp_path / 'net.pth')
    torch.save(
        {key: {'weight': torch.tensor([i])} for i, key in enumerate(('params', 'params_ema', 'state_dict'))}, file
    )
    assert [int(read_weights(file, key)['weight']) for key in ('params', 'params_ema', 'state_dict', None)] == [
        0,
        1,
        2,
        0,
    ]


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_safetensors(prefix: str, tmp_path: Path) -> None:
    source, net = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    save_file({prefix + key: value for key, value in source.state_dict().items()}, tmp_path / 'net.safetensors')
    load_weights(net, str(tmp_path / 'net.safetensors'))
    assert same(net, state(source))
    (tmp_path / 'cut.safetensors').write_bytes((tmp_path / 'net.safetensors').read_bytes()[:40])
    with pytest.raises(UserError, match=r'cut\.safetensors.*cut short'):
        load_weights(net, str(tmp_path / 'cut.safetensors'))


def test_a_file_without_weights_lists_its_keys(tmp_path: Path) -> None:
    torch.save({'optimizer': {}, 'epoch': 3, **{f'k{i}': i for i in range(9)}}, tmp_path / 'state.pth')
    with pytest.raises(
        UserError, match=r"'.*state\.pth' holds no network weights.*'optimizer', 'epoch', 'k0'.* and 3 more"
    ):
        load_weights(nn.Conv2d(3, 4, 1), str(tmp_path / 'state.pth'))
    with pytest.raises(UserError, match=r'It is a list'):
        state_in([1, 2], 'this')
    with pytest.raises(UserError, match="'note' is a str, no tensor"):
        state_in({'params': {'weight': torch.zeros(1), 'note': 'x'}}, 'this')
    with pytest.raises(UserError, match=r"'note' is nothing \(None\), no tensor"):
        state_in({'params': {'weight': torch.zeros(1), 'note': None}}, 'this')


def test_a_file_of_which_nothing_fits_lists_its_keys() -> None:
    theirs = nn.ModuleDict({'stem': nn.Conv2d(3, 4, 1), 'head': nn.Conv2d(4, 4, 1)}).state_dict()
    with pytest.raises(
        UserError, match=r"this does not fit Conv2d: it has none .* 'stem.weight', 'stem.bias', 'head.w"
    ):
        fit(nn.Conv2d(3, 4, 1), theirs, 'this')
    with pytest.raises(UserError, match=r"this does not fit Conv2d: 'bias' is missing from the file. Give another."):
        fit(nn.Conv2d(3, 4, 1), {'weight': torch.zeros(4, 3, 1, 1)}, 'this', instead='Give another.')


def test_what_fits_is_loaded_where_that_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    net = nn.Conv2d(3, 4, 1)
    bias = net.bias
    assert bias is not None
    before = bias.detach().clone()
    fit(net, {'weight': torch.ones(4, 3, 1, 1), 'bias': torch.ones(7)}, 'this', strict=False)
    assert net.weight.eq(1).all()
    assert bias.equal(before)
    assert "this: 'bias' is (7,) in the file, (4,) in the network; not loaded." in caplog.text


def test_what_is_asked_for_and_holds_no_weights_is_not_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = {'a.weight': torch.ones(2)}
    torch.save({'params': {}, 'params_ema': weights, 'options': {'lr': 1}}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match="has no weights under 'options': give 'params' or 'params_ema'"):
        read_weights(tmp_path / 'net.pth', 'options')
    with caplog.at_level('INFO'):
        assert read_weights(tmp_path / 'net.pth', 'params').keys() == weights.keys()
    assert "has no weights under 'params': using 'params_ema'" in caplog.text
