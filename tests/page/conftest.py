"""The page that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from page_server import PageServer


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """One page for all tests: none of them may bring it down."""
    with PageServer(tmp_path_factory.mktemp('page'), '-c', 'face_x4_blind', 'face_x4') as server:
        yield server
        assert server.process.poll() is None
        assert 'Traceback' not in server.said()
        # Caches: how the network is run fastest here, and the fonts of a library.
        assert [file for file in server.left() if not file.startswith('home/cache/')] == []
