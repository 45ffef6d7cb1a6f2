"""A loss by the features of a network that an earlier stage makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from fsr_plugins import config, pipeline, preflight
from fsr_plugins.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces')
    return tmp_path


def load(folder: Path, **changes: Any) -> config.Experiment:
    features = {'type': 'EDSR', 'path': 'stage:one/net_g', 'layers': ['conv_first'], **changes}
    two = {'train': {'pixel_opt': {'type': 'FeatureLoss', 'features': features}}}
    values = {**tiny.options(), 'stages': {'one': {}, 'two': two}}
    return config.load(tiny.write_options(folder / 'o.yml', values))


def test_trains_once_the_network_is_there(folder: Path) -> None:
    experiment = load(folder)
    warnings = [each.message for each in preflight.inspect(experiment, dry_steps=True).findings if each.stage == 'two']
    assert any(
        "The weights for 'train.pixel_opt' are there when stage 'one' has made them." in each for each in warnings
    )
    summary = pipeline.run(experiment)
    assert summary['stages']['two']['iterations'] == 4


def test_a_wrong_key_is_found_before_the_network_is_there(folder: Path) -> None:
    with pytest.raises(UserError, match=r"train\.pixel_opt\.features\.layer' is not known.*Did you mean 'layers'"):
        load(folder, layer='conv_first')
    with pytest.raises(UserError, match=r'train\.pixel_opt\.features\.layers'):
        load(folder, layers='conv_first')
    with pytest.raises(UserError, match=r"train\.pixel_opt\.features\.type' is 'EDRS'.*Did you mean 'EDSR'"):
        load(folder, type='EDRS')
    with pytest.raises(UserError, match=r"train\.pixel_opt\.features\.path' is None, but must be text"):
        load(folder, path=None)
