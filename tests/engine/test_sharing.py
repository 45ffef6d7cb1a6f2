"""Torch computes with as many threads as there are cores left over."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fsr_plugins import config
from fsr_plugins.engine import sharing
from fsr_plugins.engine.sharing import FairThreads, Taken, taken


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(sharing, '_WATCHED', 0.0)
    yield
    torch.set_num_threads(before)


def threads_beside(*cores: float) -> list[int]:
    """Torch's threads after each second in which others took so many cores."""
    clock, others, found = 0.0, 0.0, []
    looks = [Taken(clock, others)]
    for each in cores:
        clock, others = clock + 1, others + each
        looks.append(Taken(clock, others))
    left = iter(looks)
    threads = FairThreads('auto', lambda: next(left))
    for _ in cores:
        threads.step()
        found.append(torch.get_num_threads())
    return found


def test_there_are_as_many_as_cores_that_are_left_and_at_least_one() -> None:
    assert threads_beside(0, 0.3, 0.8, 1.2, 2, 3.1, 4, 9, 0.1, -0.2) == [4, 4, 3, 3, 2, 1, 1, 1, 4, 4]


def test_a_number_is_kept_and_nothing_is_watched() -> None:
    threads = FairThreads(3, lambda: pytest.fail('looked'))
    threads.step()
    assert torch.get_num_threads() == 3


def test_without_a_word_torchs_own_number_stays() -> None:
    FairThreads(None, lambda: pytest.fail('looked')).step()
    assert torch.get_num_threads() == 4


def test_what_another_program_takes_is_seen_and_what_this_one_takes_is_not() -> None:
    def rate(seconds: float) -> float:
        """Of what others take beside this process, which computes."""
        first, until = taken(), time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        last = taken()
        return (last.others - first.others) / (last.clock - first.clock)

    alone = rate(1.0)
    neighbour = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try:
        time.sleep(0.3)
        beside = rate(1.0)
    finally:
        neighbour.kill()
        neighbour.wait()
    # Others may be busy on the machine that tests: then the cores are taken with and without the neighbour.
    assert alone > -0.1
    assert beside > 0.3
    assert beside > alone - 0.3


@pytest.mark.parametrize(('given', 'read'), [('auto', 'auto'), ('3', 3), ('null', None)])
def test_an_option_file_says_how_many(given: str, read: object, experiment_file: Path) -> None:
    experiment = config.load(experiment_file, [f'threads={given}'])
    assert {stage.options.threads for stage in experiment.stages.values()} == {read}


def test_a_container_that_counts_its_cores_anew_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing.os, 'sched_getaffinity', lambda process: {4, 5}, raising=False)
    monkeypatch.setattr(
        sharing.psutil, 'cpu_times', lambda percpu: [SimpleNamespace(idle=3.0), SimpleNamespace(idle=4)]
    )
    before = time.process_time()
    found = taken()
    assert found.others == pytest.approx(2 * found.clock - 7.0 - before, abs=0.5)


@pytest.mark.parametrize('wanted', [2, 'auto', None])
def test_the_next_stage_finds_the_number_that_was_there(wanted: int | None) -> None:
    looks = iter([Taken(0.0, 0.0), Taken(1.0, 9.0)])
    with FairThreads(wanted, lambda: next(looks)) as threads:
        threads.step()
        assert torch.get_num_threads() == {2: 2, 'auto': 1, None: 4}[wanted]
    assert torch.get_num_threads() == 4
