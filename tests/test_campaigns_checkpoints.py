"""A small draw of the campaign of broken checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.mark.long
def test_broken_checkpoints_end_with_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'path', [str(Path(__file__).parent / 'campaigns'), *sys.path])
    import checkpoints as campaign

    found = campaign.run(seed=0, number=45, seconds=60)
    assert found.total() == 45
    assert campaign.common.broken(found) == {}
