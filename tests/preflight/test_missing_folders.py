"""A folder that is not there is said before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsr_plugins import config, preflight
from fsr_plugins.stores import SCHEMES


def test_nothing_is_drawn_where_a_folder_is_missing(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setitem(SCHEMES, 'drawn', drawn.append)
    changes = ['datasets.val.dataroot_gt=drawn://faces']
    for missing in (['stages.second.datasets.train.dataroot_gt=no/folder'], ['datasets.train.dataroot_gt=no/folder']):
        report = preflight.inspect(config.load(experiment_file, [*changes, *missing]), dry_steps=True)
        errors = [finding.message for finding in report.findings if finding.level == 'error']
        assert len(errors) == 1 and "The data folder 'no/folder' does not exist" in errors[0]
        assert not drawn
