"""A checkpoint of a network from outside says which module registers it; only the user has that imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
import two_stages

from fsr_plugins.checkpoints import described

MODULE = '''
from pathlib import Path

from basicsr.archs.edsr_arch import EDSR
from fsr_plugins.registry import ARCH_REGISTRY

Path('imported').touch()


@ARCH_REGISTRY.register()
class OutsideEDSR(EDSR):
    """EDSR under another name."""
'''


def fsr(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(['.', *sys.path]), 'OMP_NUM_THREADS': '1'}
    code = 'import sys; from fsr_plugins.cli import main; sys.exit(main())'
    return subprocess.run(
        [sys.executable, '-c', code, *arguments], capture_output=True, text=True, env=environment, timeout=300
    )


@pytest.fixture
def trained(experiment_file: Path) -> Path:
    """The checkpoint of a network that the module ``outside_edsr`` registers, and a picture."""
    values = {key: value for key, value in two_stages.EXPERIMENT.items() if key != 'stages'}
    values |= {'plugins': ['outside_edsr'], 'network_g': {**values['network_g'], 'type': 'OutsideEDSR'}}
    tiny.write_options(experiment_file, values)
    Path('outside_edsr.py').write_text(MODULE)
    cv2.imwrite('lr.png', np.full((8, 8, 3), 90, np.uint8))
    done = fsr('train', '-opt', str(experiment_file))
    assert done.returncode == 0, done.stderr
    Path('imported').unlink()
    return Path('experiments/small/train/models/net_g_latest.pth')


@pytest.mark.long
def test_what_a_file_needs_is_named_and_imported_only_by_name(trained: Path) -> None:
    assert described(trained)['meta']['module'] == 'outside_edsr'
    infer = ('infer', 'lr.png', '-c', str(trained), '-o', 'out')
    done = fsr(*infer)
    assert done.returncode == 2 and not Path('imported').exists()
    assert "No arch is named 'OutsideEDSR'" in done.stderr and "'outside_edsr'" in done.stderr
    assert '--plugins' in done.stderr and 'Traceback' not in done.stderr
    done = fsr(*infer, '--plugins', 'outside_edsr')
    assert done.returncode == 0, done.stderr
    assert Path('imported').exists() and list(Path('out').iterdir())
    done = fsr(*infer, '--plugins', 'outside_edrs')
    assert done.returncode == 2 and "Did you mean 'outside_edsr'?" in done.stderr


@pytest.mark.parametrize('command', ['export', 'test', 'adapt', 'bench'])
def test_the_other_commands_take_it_too(command: str) -> None:
    done = fsr(command, '--help')
    assert done.returncode == 0 and '--plugins MODULE' in done.stdout


def test_a_network_of_ours_names_its_module(experiment_file: Path) -> None:
    from fsr_plugins import config, pipeline

    pipeline.run(config.load(experiment_file))
    meta = described(Path('experiments/small/second/models/net_g_latest.pth'))['meta']
    assert meta['module'] == 'basicsr.archs.edsr_arch'
