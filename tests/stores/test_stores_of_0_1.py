"""Stores that version 0.1 has written: their checksums and what checkpoints carry of them are those of then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fsr_plugins.stores import open_store, store_checksum, verify

FIXTURES = Path(__file__).parents[1] / 'fixtures/v0_1'
EXPECTED = json.loads((FIXTURES / 'stores/expected.json').read_text())
PARTS = ['stores/faces.lmdb', 'stores/faces']


@pytest.mark.parametrize(('name', 'spec'), [*((part, part) for part in PARTS), ('union', PARTS)])
def test_checksum_and_provenance_are_those_of_0_1(
    name: str, spec: str | list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    shutil.copytree(FIXTURES / 'stores', tmp_path / 'stores')
    monkeypatch.chdir(tmp_path)
    store = open_store(spec)
    # The second time what was found the first time is used.
    for _ in range(2):
        assert store_checksum(store) == EXPECTED[name]['checksum']
        assert store.provenance() == EXPECTED[name]['facts']
        assert verify(store).tolist() == [[16, 16]] * len(store)
    assert store.content_checksum() == EXPECTED[name]['checksum']
