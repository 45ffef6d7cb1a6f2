"""A recogniser that was trained with does not judge, unless the option file says that it is known."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from fsr_plugins import config
from fsr_plugins.archs.recognition import MobileFaceNet
from fsr_plugins.errors import UserError
from fsr_plugins.preflight.recognisers import check_recognisers
from fsr_plugins.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
class JudgesTestMetric:
    """Has a judge."""

    def __init__(self, recogniser: dict[str, Any], trained_with: bool = False) -> None: ...

    def update(self) -> None: ...


def experiment(folder: Path, judge: dict[str, Any], **metric: Any) -> config.Experiment:
    """Learns with a recogniser in its second stage, and is judged there by another."""
    own = {'type': 'MobileFaceNet', 'path': str(folder / 'own.pth')}
    loss = {'type': 'IdentityLoss', 'recogniser': own}
    metrics = {'who': {'type': 'JudgesTestMetric', 'recogniser': judge, **metric}}
    second = {
        'model_type': 'ISRKDPretrainModel',
        'network_g': {'type': 'ISRKDGenerator', 'num_feat': 4},
        'path': {'pretrain_network_g': None},
        'train': {'id_opt': loss, 'optim': {'type': 'Adam', 'lr': 1e-4}},
        'val': {'metrics': metrics},
    }
    third = {
        'path': {'pretrain_network_g': 'stage:second/net_g'},
        **{k: second[k] for k in ('model_type', 'network_g')},
    }
    common = tiny.options()
    common.pop('network_g')
    common['train'].pop('optim_g')
    values = {
        **common,
        'stages': {
            'second': second,
            'third': {**third, 'train': {'optim': {'type': 'Adam'}}, 'val': {'metrics': metrics}},
        },
    }
    values['scale'], values['degradation']['scale'] = 8, 8
    return config.load(tiny.write_options(folder / 'o.yml', values))


def test_a_judge_that_was_trained_with_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'own.pth').write_bytes(b'weights')
    shutil.copy(tmp_path / 'own.pth', tmp_path / 'copy.pth')
    (tmp_path / 'other.pth').write_bytes(b'weightS')
    for name in ('own.pth', 'copy.pth'):
        found = experiment(tmp_path, {'type': 'MobileFaceNet', 'path': str(tmp_path / name)})
        for stage in found.stages.values():  # the third builds on the second, which learned with it
            with pytest.raises(UserError, match=r"val\.metrics\.who.*trained with.*'trained_with: true'"):
                check_recognisers(found, stage)
    known = experiment(tmp_path, {'type': 'MobileFaceNet', 'path': str(tmp_path / 'own.pth')}, trained_with=True)
    other = experiment(tmp_path, {'type': 'MobileFaceNet', 'path': str(tmp_path / 'other.pth')})
    published = experiment(tmp_path, {'type': 'MobileFaceNet'})
    assert [check_recognisers(found, found.stages['third']) for found in (known, other, published)] == [[], [], []]


def test_published_weights_that_features_came_from_do_not_judge(tmp_path: Path) -> None:
    features = {'type': 'MobileFaceNet', 'layers': ['blocks.4']}
    found = experiment(tmp_path, {'type': 'MobileFaceNet'})
    found.stages['second'].opt['train']['id_opt'] = {'type': 'FeatureLoss', 'features': features}
    with pytest.raises(UserError, match='the published MobileFaceNet is what the networks were trained with'):
        check_recognisers(found, found.stages['third'])


def publish(patch: pytest.MonkeyPatch, content: bytes) -> None:
    assert MobileFaceNet.published is not None
    digest = hashlib.sha256(content).hexdigest()
    patch.setattr(MobileFaceNet, 'published', replace(MobileFaceNet.published, sha256=digest))


def test_a_copy_of_the_published_weights_is_known_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (('own.pth', b'published'), ('other.pth', b'another'), ('copy.pth', b'published')):
        (tmp_path / name).write_bytes(content)
    publish(monkeypatch, b'published')
    # Trained with the file, rated by what is fetched.
    found = experiment(tmp_path, {'type': 'MobileFaceNet'})
    with pytest.raises(UserError, match='the published MobileFaceNet is what the networks were trained with'):
        check_recognisers(found, found.stages['third'])
    # Trained with what is fetched, rated by the file.
    for name, refused in (('copy.pth', True), ('other.pth', False)):
        found = experiment(tmp_path, {'type': 'MobileFaceNet', 'path': str(tmp_path / name)})
        del found.stages['second'].opt['train']['id_opt']['recogniser']['path']
        if refused:
            with pytest.raises(UserError, match=r'copy\.pth is what the networks were trained with'):
                check_recognisers(found, found.stages['third'])
        else:
            assert check_recognisers(found, found.stages['third']) == []


def test_a_path_from_the_home_folder_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'own.pth').write_bytes(b'weights')
    found = experiment(tmp_path, {'type': 'MobileFaceNet', 'path': '~/own.pth'})
    with pytest.raises(UserError, match='~/own.pth is what the networks were trained with'):
        check_recognisers(found, found.stages['second'])


def test_blocks_without_a_type_are_no_concern_of_it(tmp_path: Path) -> None:
    found = experiment(tmp_path, {})
    found.stages['second'].opt['train']['id_opt'] = {'type': 'IdentityLoss', 'recogniser': {}}
    assert check_recognisers(found, found.stages['second']) == []
