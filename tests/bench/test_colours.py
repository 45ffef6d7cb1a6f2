"""Bicubic enlargement with colours set right by training sets alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_suite import SUITE, write_suite

from fsr_plugins.bench.colours import ChannelStatistics, ChannelSums, ColourMatch
from fsr_plugins.bench.table import quality
from fsr_plugins.cli import main

#: A camera that darkens, and does nothing else.
DARK = {'type': 'RealWorldCamera', 'scale': 2, 'blur': [0.01, 0.01], 'gain': [0.6, 0.6], 'read_noise': [0.0, 0.0],
        'jpeg_quality': [100, 100]}  # fmt: skip


def test_statistics_are_those_of_all_pixels() -> None:
    batches = [torch.rand(2, 3, 4, 5), torch.rand(1, 3, 7, 2)]
    sums = ChannelSums()
    for batch in batches:
        sums.add(batch)
    pixels = torch.cat([batch.permute(1, 0, 2, 3).flatten(1) for batch in batches], dim=1).double().numpy()
    found = sums.statistics()
    assert found.mean == pytest.approx(pixels.mean(1)) and found.deviation == pytest.approx(pixels.std(1))


def test_matched_images_have_the_statistics_of_hr() -> None:
    lr = ChannelStatistics([0.2, 0.3, 0.4], [0.1, 0.2, 0.0])
    hr = ChannelStatistics([0.4, 0.6, 0.8], [0.2, 0.1, 0.3])
    match = ColourMatch(lr, hr)
    assert match.gain == pytest.approx(2) and match.slope == pytest.approx([2, 0.5, 1])
    pixels = torch.tensor([lr.mean, [0.3, 0.5, 0.4]]).t()[None, :, :, None]  # the mean, and a deviation above it
    assert match(pixels)[0, :, :, 0].t().tolist() == [pytest.approx(hr.mean), pytest.approx([0.6, 0.7, 0.8])]


def test_a_suite_sets_colours_right_and_counts_it_as_a_baseline(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = {
        'bicubic': {'type': 'bicubic'},
        'matched': {'type': 'bicubic_matched', 'title': 'Matched'},
        'of_lq': {'type': 'bicubic_matched', 'lq': 'lq'},
        'one': SUITE['entries']['one'],
    }
    shutil.copytree('train', 'lq')  # as bright as HR: nothing is to be set right
    write_suite(folder, entries=entries, degradation=DARK, papers={}, curves=None)
    assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json']) == 0
    found: dict[str, Any] = json.loads(Path('found.json').read_text())
    means = {name: about['figures']['psnr']['mean'] for name, about in found['entries'].items()}
    assert means['matched'] > means['bicubic'] + 3
    assert means['of_lq'] < means['matched'] - 3
    slope = found['entries']['matched']['colours']['slope']
    assert all(1.5 < value < 2.3 for value in slope)  # the gain, and what the camera's colours take besides
    assert found['entries']['matched']['kind'] == 'bicubic_matched' and found['entries']['matched']['unfair'] is None
    small = {row.name: row.small for row in quality(found).rows}  # type: ignore[arg-type]
    assert small['One & only'] == 'not above bicubic; Matched; of_lq' and small['Matched'] == ''
    report = Path('experiments/small_suite/report.md').read_text()
    assert 'each channel with the mean and deviation of reduced HR, by the statistics of training sets: R ×' in report


def test_what_does_not_fit_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for entries, changes, message in (
        ({'a': {'type': 'bicubic_matched'}}, {'train': None, 'budget': None}, "'bicubic_matched' takes the colours"),
        ({'a': {'type': 'bicubic_matched', 'lq': 'test.lmdb'}}, {}, "its 'lq' is of the test set: test.lmdb"),
        ({'a': {'type': 'bicubic', 'lq': 'test.lmdb'}}, {}, "'lq' goes with 'type: bicubic_matched'"),
    ):
        write_suite(folder, entries=entries, reference=None, papers={}, curves=None, **changes)
        capsys.readouterr()
        assert main(['bench', '-opt', 'suite.yml']) == 2
        assert message in capsys.readouterr().err
    assert not Path('experiments').exists()
