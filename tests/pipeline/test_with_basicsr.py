"""Side by side with BasicSR: its own loop trains our stages, and this engine trains its networks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from basicsr.train import train_pipeline

from fsr_plugins import config, pipeline

#: BasicSR's networks for SR, each with few blocks, at a scale it has.
ARCHS: dict[str, dict[str, Any]] = {
    'EDSR': {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 2},
    'RCAN': {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_group': 1, 'num_block': 1, 'upscale': 2},
    'MSRResNet': {'num_feat': 8, 'num_block': 1, 'upscale': 2},
    'RRDBNet': {'num_in_ch': 3, 'num_out_ch': 3, 'scale': 2, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4},
    'SwinIR': {
        'img_size': 8, 'window_size': 4, 'depths': [1], 'num_heads': [2], 'embed_dim': 8, 'mlp_ratio': 1,
        'upscale': 2, 'upsampler': 'pixelshuffle',
    },
}  # fmt: skip


@pytest.mark.parametrize('arch', ARCHS)
def test_a_network_of_basicsr_trains_through_this_engine(experiment_file: Path, arch: str) -> None:
    options = yaml.safe_load(experiment_file.read_text())
    options |= {'network_g': {'type': arch, **ARCHS[arch]}, 'stages': {'only': {'train': {'total_iter': 3}}}}
    experiment_file.write_text(yaml.safe_dump(options))
    summary = pipeline.run(config.load(experiment_file))
    content = torch.load(summary['stages']['only']['checkpoint'], weights_only=True)
    assert content['meta']['arch']['type'] == arch
    assert summary['validation']['held_out']['result']['psnr'] > 0


def test_a_stage_runs_unchanged_under_basicsr(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = config.load(experiment_file).stages['first']
    file = tmp_path / 'first.yml'
    file.write_text(config.dump(stage.opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    train_pipeline(str(tmp_path))
    folder = tmp_path / 'experiments/small_first'
    content = torch.load(folder / 'models/net_g_latest.pth', weights_only=True)
    assert {'params', 'params_ema', 'meta'} == set(content)
    state = torch.load(folder / 'training_states/4.state', weights_only=True)
    assert state['iter'] == 4
