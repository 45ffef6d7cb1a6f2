"""BasicSR is mended whoever imports it, and classes are found, once fsr_plugins has been imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize('first', ['basicsr', 'basicsr.archs.rrdbnet_arch', 'basicsr.losses'])
def test_it_is_mended_whatever_of_it_comes_first(first: str) -> None:
    code = (
        f'import fsr_plugins; import {first}; import basicsr, sys\n'
        'from basicsr.data import degradations\n'
        'from basicsr.utils.registry import ARCH_REGISTRY\n'
        'from fsr_plugins.registry import ARCH_REGISTRY as ours\n'
        "print('fsr_plugins.compat' in sys.modules, ARCH_REGISTRY is ours, 'RRDBNet' in ours, basicsr.__version__)"
    )
    assert run(code) == 'True True True 1.4.2'


def test_importing_the_package_alone_is_light() -> None:
    code = "import sys, fsr_plugins; print([name for name in ('torch', 'numpy', 'basicsr') if name in sys.modules])"
    assert run(code) == '[]'


def test_a_class_of_a_method_is_built_without_loading_plugins_by_hand() -> None:
    block = "{'type': 'PKDNStudent', 'num_feat': 4, 'num_block': 1, 'squeeze_factor': 2}"
    code = f"from fsr_plugins.registry import build; print(type(build('archs', {block})).__name__)"
    assert run(code) == 'PKDNStudent'
