"""The reference of options and the JSON schema say what the types say, and fit the option files there are."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from fsr_plugins.cli import main
from fsr_plugins.config.reference import json_schema, reference
from fsr_plugins.registry import load_plugins

ROOT = Path(__file__).parents[2]
FILES = sorted(file for file in (ROOT / 'options').rglob('*.yml') if 'bench' not in file.parts)


@pytest.fixture(scope='module')
def schema() -> dict[str, Any]:
    load_plugins()
    return json_schema()


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['options', '--reference']) == 0
    page = capsys.readouterr().out
    assert page == (ROOT / 'docs/options.md').read_text(encoding='utf-8'), 'fsr options --reference > docs/options.md'
    load_plugins()
    assert page == reference()


def test_the_command_prints_a_schema(capsys: pytest.CaptureFixture[str], schema: dict[str, Any]) -> None:
    assert main(['options', '--schema']) == 0
    printed = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(printed)
    assert printed.keys() == schema.keys()


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(ROOT / 'options')))
def test_every_option_file_fits_the_schema(schema: dict[str, Any], file: Path) -> None:
    found = yaml.safe_load(file.read_text(encoding='utf-8'))
    errors = [
        f'{list(error.absolute_path)}: {error.message}' for error in Draft202012Validator(schema).iter_errors(found)
    ]
    assert not errors


EXAMPLE: dict[str, Any] = {
    'name': 'x', 'model_type': 'SupervisedModel', 'scale': 4, 'degradation': {'type': 'BicubicDown', 'scale': 4},
    'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3}, 'path': {'pretrain_network_g': 'stage:a/net_g'},
    'datasets': {'train': {'type': 'FaceDataset', 'dataroot_gt': 'faces', 'batch_size_per_gpu': 4}},
    'train': {'total_iter': 5, 'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'pixel_opt': {'type': 'L1Loss'}},
    'val': {'val_freq': 5, 'metrics': {'psnr': {'type': 'PSNR'}}}, 'stages': {'a': {}, 'b': {'val': None}},
}  # fmt: skip


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        target = values
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    'change',
    [
        put('modell_type', value='SupervisedModel'),
        put('model_type', value='SupervisedMode'),
        put('scale', value='4'),
        put('degradation', 'scal', value=4),
        put('network_g', 'type', value='EDSRR'),
        put('network_g', 'num_feats', value=3),
        put('path', 'pretrain', value='x'),
        put('datasets', 'train', 'type', value='FacesDataset'),
        put('datasets', 'train', 'batch_size_per_gpu', value=0),
        put('train', 'total_iter', value='many'),
        put('train', 'pixel_opt', 'type', value='L3Loss'),
        put('val', 'metrics', 'psnr', 'type', value='PSNRR'),
        put('stages', 'b', 'scales', value=4),
    ],
)
def test_what_does_not_fit_is_marked(schema: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    validator = Draft202012Validator(schema)
    assert not list(validator.iter_errors(EXAMPLE))
    wrong = copy.deepcopy(EXAMPLE)
    change(wrong)
    assert list(validator.iter_errors(wrong))


@pytest.mark.parametrize('arguments', [(), ('--reference', '-opt', 'x.yml'), ('--schema', '-opt', 'x.yml')])
def test_what_cannot_be_asked_for(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert main(['options', *arguments]) == 2
    assert '-opt' in capsys.readouterr().err
