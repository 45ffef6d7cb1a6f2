"""Finding plugins, near-name hints, building from blocks."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import textwrap

import pytest
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils import registry as basicsrs

import fsr_plugins
from fsr_plugins import registry
from fsr_plugins.errors import UserError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a module that can be imported, with an entry point to it; returns a function of its name and source."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, source: str, *, entry_point: bool = True) -> None:
        (tmp_path / f'{name}.py').write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        if entry_point:
            info = tmp_path / f'{name}-1.0.dist-info'
            info.mkdir()
            (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
            (info / 'entry_points.txt').write_text(f'[fsr_plugins]\n{name} = {name}\n')

    return write


@pytest.fixture
def clean_registries():
    """Takes back what a test registers, but not the methods of this repository, which are imported only once."""
    registry.load_plugins()
    before = {kind: dict(each._obj_map) for kind, each in registry.REGISTRIES.items()}
    yield
    for kind, each in registry.REGISTRIES.items():
        each._obj_map.clear()
        each._obj_map.update(before[kind])


PLUGIN = """
from torch import nn
from fsr_plugins.registry import ARCH_REGISTRY

@ARCH_REGISTRY.register()
class NetFromElsewhere(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width
"""


def test_the_five_registries_are_basicsrs_own():
    assert registry.ARCH_REGISTRY is basicsrs.ARCH_REGISTRY
    assert registry.REGISTRIES['metrics'] is basicsrs.METRIC_REGISTRY
    assert registry.DEGRADATION_REGISTRY not in (basicsrs.ARCH_REGISTRY, basicsrs.DATASET_REGISTRY)


def test_entry_point_is_found_and_builds(package, clean_registries):
    with pytest.raises(UserError):
        registry.lookup('archs', 'NetFromElsewhere')
    package('fsr_elsewhere', PLUGIN)
    assert registry.build('archs', {'type': 'NetFromElsewhere', 'width': 7}).width == 7


def test_option_plugins_needs_no_entry_point(package, clean_registries):
    package('fsr_by_option', PLUGIN, entry_point=False)
    registry.load_plugins({'fsr_by_option': 'o.yml:1'})
    assert registry.lookup('archs', 'NetFromElsewhere').__module__ == 'fsr_by_option'


@pytest.mark.parametrize(
    ('source', 'said'),
    [
        ('def helper():\n    return 1 / 0\n\nhelper()\n', 'division by zero (ZeroDivisionError in {file}:2)'),
        ('import json\n\njson.loads("[")\n', 'Expecting value: line 1 column 2 (char 1) (JSONDecodeError in {file}:3)'),
        ('import no_such_library\n', "No module named 'no_such_library' (ModuleNotFoundError in {file}:1)"),
        ('from json import nothing\n', 'nothing'),
        ('x = 1\ny = = 2\n', 'invalid syntax (SyntaxError in {file}:2)'),
        ('import sys\nsys.exit(7)\n', 'it ends the process with 7 (SystemExit in {file}:2)'),
        ('raise ValueError\n', 'without a word (ValueError in {file}:1)'),
    ],
)
def test_plugin_that_does_not_import_is_reported_with_its_line(package, clean_registries, tmp_path, source, said):
    package('fsr_broken', source)
    with pytest.raises(UserError) as caught:
        registry.load_plugins()
    message = str(caught.value)
    assert message.startswith("The plugin 'fsr_broken' (from the entry point 'fsr_broken') cannot be imported: ")
    assert said.format(file=tmp_path / 'fsr_broken.py') in message and '\n' not in message
    with pytest.raises(UserError, match=r"^o\.yml:3: key 'plugins': the plugin 'fsr_broken' cannot be imported: "):
        registry._import('fsr_broken', "o.yml:3: key 'plugins': the plugin 'fsr_broken'")


@pytest.mark.parametrize(
    ('name', 'missing', 'hint'),
    [
        ('fsr_by_optoin', 'fsr_by_optoin', " Did you mean 'fsr_by_option'?"),
        ('mymeth', 'mymeth', ''),
        ('tourch', 'tourch', ''),
        ('xml.doom', 'xml.doom', " Did you mean 'xml.dom'?"),
        ('xml.etrap', 'xml.etrap', ''),
        ('qqqqqqqqqqqq.part', 'qqqqqqqqqqqq', ''),
    ],
)
def test_missing_module_in_option_plugins_gets_the_nearest(package, clean_registries, name, missing, hint):
    package('fsr_by_option', PLUGIN, entry_point=False)
    with pytest.raises(UserError) as caught:
        registry.load_plugins({name: "o.yml:3: key 'plugins'"})
    assert str(caught.value) == (
        f"o.yml:3: key 'plugins': the plugin '{name}' is not found: there is no module '{missing}'.{hint} "
        'Install it, or put its folder on PYTHONPATH.'
    )


def test_own_method_comes_by_the_same_door():
    code = """
        from importlib.metadata import entry_points
        print(sorted(point.value for point in entry_points(group='fsr_plugins')))
    """
    found = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert 'fsr_plugins.methods.tsnet' in found.stdout


@pytest.mark.parametrize(
    ('kind', 'wrong', 'right'),
    [
        ('archs', 'EDRS', 'EDSR'),
        ('archs', 'RRDBnet', 'RRDBNet'),
        ('losses', 'L1loss', 'L1Loss'),
        ('models', 'SRmodel', 'SRModel'),
    ],
)
def test_unknown_name_gets_the_nearest(kind, wrong, right):
    with pytest.raises(UserError, match=f"is named '{wrong}'. Did you mean '{right}'"):
        registry.lookup(kind, wrong)


def test_name_like_no_other_gets_the_command_that_lists_them():
    with pytest.raises(UserError, match='`fsr list archs` shows all'):
        registry.lookup('archs', '???')


def test_archs_that_basicsr_registers_under_a_suffix_are_found(capsys):
    assert registry.lookup('archs', 'SRVGGNetCompact') is SRVGGNetCompact
    assert capsys.readouterr().out == ''


def test_build_without_type_says_so():
    with pytest.raises(UserError, match="no key 'type'"):
        registry.build('losses', {'loss_weight': 1.0})


def test_build_with_an_unknown_argument_says_which():
    with pytest.raises(UserError, match="'L1Loss' cannot be built.*los_weight"):
        registry.build('losses', {'type': 'L1Loss', 'los_weight': 1.0})


def test_what_a_block_holds_is_shown_cut_short() -> None:
    for block in ({'key': 'x' * 10_000}, {'type': 'EDSR', 'key': 'x' * 10_000}):
        with pytest.raises(UserError) as caught:
            registry.build('archs', block)
        assert len(str(caught.value)) < 500


def test_every_name_that_a_package_offers_is_there() -> None:
    """Names that are brought late are offered too: ``from … import *`` must find them."""
    offered = 0
    for found in pkgutil.walk_packages(fsr_plugins.__path__, 'fsr_plugins.'):
        if found.ispkg:
            package = importlib.import_module(found.name)
            names = getattr(package, '__all__', [])
            assert [name for name in names if not hasattr(package, name)] == [], found.name
            offered += len(names)
    assert offered > 100
