"""What the files for installing and for the checks promise each other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import fsr_plugins

ROOT = Path(__file__).parents[1]


def requirements() -> dict[str, Requirement]:
    """What the installed package requires without extras, by name."""
    found = [Requirement(line) for line in metadata.requires('fsr_plugins') or []]
    return {each.name: each for each in found if each.marker is None or 'extra' not in str(each.marker)}


def constraints() -> dict[str, Requirement]:
    """The versions of `.ci/constraints.txt` that apply to this Python, by name."""
    lines = (ROOT / '.ci/constraints.txt').read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return {each.name: each for each in found if each.marker is None or each.marker.evaluate()}


def test_version_is_the_one_of_the_package():
    assert metadata.version('fsr_plugins') == fsr_plugins.__version__


@pytest.mark.parametrize('name', sorted(requirements()))
def test_what_is_installed_is_within_the_bounds(name):
    assert requirements()[name].specifier.contains(metadata.version(name), prereleases=True)


def test_constraints_are_within_the_bounds():
    bounds = requirements()
    for name, pinned in constraints().items():
        (version,) = (Version(each.version) for each in pinned.specifier)
        if name in bounds:
            assert version in bounds[name].specifier, name


def test_makefile_installs_torch_within_the_bounds_of_setup():
    quoted = re.search(r"^TORCH := '([^']+)' '([^']+)'$", (ROOT / 'Makefile').read_text(), re.MULTILINE)
    assert quoted is not None
    for text in quoted.groups():
        ours = Requirement(text)
        assert ours.specifier == requirements()[ours.name].specifier


def test_every_extra_is_in_the_documents():
    table = (ROOT / 'docs/installation.md').read_text(encoding='utf-8').split('## Extras\n')[1].split('\n## ')[0]
    named = {
        name for row in table.splitlines() if row.startswith('|') for name in re.findall(r'`(\w+)`', row.split('|')[1])
    }
    assert named == set(metadata.metadata('fsr_plugins').get_all('Provides-Extra', []))


def test_headless_opencv_is_not_required_beside_the_other():
    required = {each.partition(' ')[0].lower() for each in metadata.requires('fsr_plugins') or []}
    assert not any('headless' in each for each in required)


def test_command_and_plugin_group_are_declared():
    mine = metadata.distribution('fsr_plugins').entry_points
    assert {each.name for each in mine if each.group == 'console_scripts'} == {'fsr'}
    assert 'tsnet' in {each.name for each in mine if each.group == 'fsr_plugins'}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs make in the repository."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(('MAKE', 'MFLAGS'))}
    return subprocess.run(['make', '-C', str(ROOT), *arguments], capture_output=True, text=True, env=environment)


def test_make_help_names_every_target():
    result = make('--no-print-directory', 'help')
    assert result.returncode == 0, result.stderr
    for target in ('setup', 'demo', 'test', 'test-long', 'lint', 'clean'):
        assert f'make {target}' in result.stdout


def test_make_takes_torch_first_and_passes_pip_args_on():
    plan = make('--dry-run', '--always-make', 'setup', 'PIP_ARGS=--index-url INDEX').stdout
    steps = re.findall(r'^\.venv/bin/python -m pip .*$', plan, re.MULTILINE)
    assert [step for step in steps if '--index-url INDEX' in step] == steps[:1]
    assert "'torch>=" in steps[0]
    assert 'basicsr==1.4.2' in steps[2] and '--no-build-isolation' in steps[2]


def test_no_file_for_installing_names_a_host_or_a_home():
    for name in ('setup.py', 'pyproject.toml', 'Makefile', '.ci/run', '.ci/constraints.txt', '.gitignore'):
        text = (ROOT / name).read_text()
        assert not re.search(r'https?://|/home/|/root/|/work/|/opt/|/tmp/', text), name


def test_importing_what_the_commands_need_touches_no_network():
    code = """
import socket
def refuse(*_, **__):
    raise OSError('no network in this test')
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from fsr_plugins.registry import load_plugins
load_plugins()
"""
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


#: Classes that take a parameter in every Python that is supported. logging.StreamHandler does so from 3.11 on.
GENERIC = {'Generic', 'Protocol', 'Dataset', 'Sampler', 'DataLoader', 'Architecture'}


def test_base_classes_take_parameters_in_the_oldest_python():
    trees = [ast.parse(path.read_text(encoding='utf-8')) for path in (ROOT / 'fsr_plugins').rglob('*.py')]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    taken = {
        ast.unparse(base.value) for node in classes for base in node.bases if isinstance(base, ast.Subscript)
    }  # bases are evaluated when a module is imported, unlike annotations
    assert taken
    assert taken - {node.name for node in classes} <= GENERIC
