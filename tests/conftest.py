"""What every test needs: BasicSR mended before anything imports it, one thread, GPU tests only where there is one."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: several test processes share the machine.
os.environ.setdefault('OMP_NUM_THREADS', '1')

from fsr_plugins import compat  # noqa: F401, I001  before anything of BasicSR

import pytest
import torch
import two_stages


def on_trial() -> bool:
    """Whether tests for a GPU are tried on a CPU."""
    return os.environ.get('FSR_TEST_DEVICE') == 'cpu'


@pytest.fixture
def device() -> torch.device:
    """What a test for a GPU compares with the CPU."""
    return torch.device('cpu' if on_trial() else 'cuda')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what is marked ``gpu`` where there is no CUDA device.

    With ``FSR_TEST_DEVICE=cpu`` those with the fixture ``device`` compare the CPU with itself, as a trial.
    """
    if torch.cuda.is_available():
        return
    for item in items:
        tried = on_trial() and 'device' in getattr(item, 'fixturenames', ())
        if 'gpu' in item.keywords and not tried:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """A run in a test's own process logs to the stream that pytest closes after it: its handlers end with the test.

    So does what it makes of Ctrl-C; and runs in processes of their own hear it, and that a terminal is closed, though
    what started the tests in the background may not.
    """
    logger = logging.getLogger('fsr_plugins')
    before = list(logger.handlers)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, 'SIGHUP'):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    logger.handlers[:] = before


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """No measurement decides how precise the pictures of a test are."""
    monkeypatch.setattr('fsr_plugins.restore.forward.computes_bf16', lambda device: False)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of stores between runs lies in the test's own folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The option file, in the working directory beside its data (10 images to train on: no multiple of the batch)."""
    monkeypatch.chdir(tmp_path)
    return two_stages.write(tmp_path, two_stages.EXPERIMENT)
