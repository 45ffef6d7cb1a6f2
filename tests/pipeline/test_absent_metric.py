"""A metric without its weights: a marked gap from validation to the summary and the printed table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from fsr_plugins import config, pipeline
from fsr_plugins.cli.experiment import show_figures, show_tables


def test_a_gap_that_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'weights'))
    monkeypatch.setenv('COLUMNS', '200')
    values = tiny.options(tiny.write_faces(tmp_path / 'faces'))
    values['val']['metrics'] = {'quality': {'type': 'FIQ'}, 'psnr': {'type': 'PSNR'}}
    experiment = config.load(tiny.write_options(tmp_path / 'o.yml', values))
    summary = pipeline.run(experiment)

    assert json.loads((tmp_path / 'experiments/tiny/summary.json').read_text()) == summary
    ((conventions),) = summary['metrics'].values()
    assert conventions['quality'].startswith('absent: FaceQnet v1')
    assert all(set(figures) == {'psnr'} for figures in summary['validation']['held'].values())
    assert pipeline.evaluate(experiment)['metrics'] == summary['metrics']

    capsys.readouterr()
    show_figures(summary['validation'], summary['metrics'])
    shown = capsys.readouterr().out
    (row,) = [line for line in shown.splitlines() if 'quality' in line and 'absent' not in line]
    assert row.count('-') == len(summary['validation']['held'])
    assert 'quality: absent: FaceQnet v1 is not at' in shown


def test_names_in_brackets_are_shown_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of metrics are anybody's; rich takes brackets for its own."""
    monkeypatch.setenv('COLUMNS', '200')
    show_figures({'[/set]': {'[/net]': {'PSNR [dB]': 1.0, '[/x]': 2.0}}}, {})
    show_tables({'[/title]': [{'PSNR [dB]': 1.0, '[/y]': 2.0}]})
    shown = capsys.readouterr().out
    assert all(name in shown for name in ('[/set]', '[/net]', '[/x]', '[/title]', '[/y]'))
    assert shown.count('PSNR [dB]') == 2
