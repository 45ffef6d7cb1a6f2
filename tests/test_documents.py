"""What the documents show is run as it stands there."""

from __future__ import annotations

import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from fsr_plugins import config
from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.registry import build_network

ROOT = Path(__file__).parents[1]


def block(page: str, line: str) -> str:
    """The indented block of a page that has a line which begins so."""
    for part in (ROOT / page).read_text(encoding='utf-8').split('\n\n'):
        if part.startswith('    ') and any(each.strip().startswith(line) for each in part.split('\n')):
            return textwrap.dedent(part)
    raise AssertionError(f'{page} has no block with {line!r}')


def test_the_option_file_of_the_documents_may_lie_anywhere(tmp_path: Path) -> None:
    (tmp_path / 'mine.yml').write_text(block('docs/option_files.md', 'name: mine'))
    experiment = config.load(tmp_path / 'mine.yml', root=tmp_path)
    assert list(experiment.stages) == ['pixels', 'finer']
    assert experiment.stages['finer'].opt['train']['total_iter'] == 500


@pytest.mark.skipif(find_spec('onnxruntime') is None, reason='needs the extra export')
def test_exported_networks_are_used_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = build_network(tiny.EDSR)
    save_network(
        Path('net_s.pth'), {'params': net}, describe('net_g', tiny.EDSR, 4, read_settings(tiny.options()).training())
    )
    for file in ('net_s.onnx', 'net_s.pt2'):
        assert main(['export', '-c', 'net_s.pth', '-o', file, '--size', '8', '8']) == 0
    lq = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(lq)).clamp(0, 1).numpy()
    imports, *lines = block('docs/restoring.md', 'import onnxruntime').splitlines()
    assert len(lines) == 2
    for line in lines:
        names: dict[str, object] = {'lq': lq}
        exec(f'{imports}\n{line}', names)
        assert isinstance(names['sr'], np.ndarray)
        np.testing.assert_allclose(names['sr'], expected, atol=1e-4)
