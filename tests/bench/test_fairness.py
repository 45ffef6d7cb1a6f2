"""What cannot be compared is refused before anything is trained, with what differs."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_suite import EXPERIMENT, SUITE, write_suite

from fsr_plugins.cli import main


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> str:
    capsys.readouterr()
    assert main(['bench', '-opt', 'suite.yml', *more]) == 2
    assert not (folder / 'experiments').exists()
    return capsys.readouterr().err


def entries(**changes: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(SUITE['entries'])
    for name, block in changes.items():
        made[name] = {**made.get(name, {}), **block}
    return made


def test_everything_that_differs_is_said_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = {'stages': {'first': {'scale': 4, 'degradation': None}}}
    blocks = entries(one={'set': changed}, two={'set': {'train': {'total_iter': 5}}})
    write_suite(folder, entries=blocks, test={'dataroot_gt': 'train.lmdb'})
    text = refused(capsys, folder)
    assert "'train' and 'test' read the same store" in text
    assert "entry 'one': stage 'first' has scale 4, the suite 2" in text
    assert "entry 'one': stage 'first' has no degradation, the suite makes LR by {" in text
    assert "entry 'two': its network sees 7 iterations (first 2 + second 5), the budget is 6" in text
    assert 'nothing was trained' in text


def test_a_budget_of_images_counts_batches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_suite(folder, budget={'images': 11})
    assert 'sees 12 images (first 4 + second 8), the budget is 11' in refused(capsys, folder)


def test_other_data_needs_a_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder / 'test', folder / 'others')
    changed = copy.deepcopy(EXPERIMENT)
    changed['stages']['second']['datasets'] = {'train': {'type': 'UnpairedFaceDataset', 'dataroot_real_lq': 'others'}}
    (folder / 'other.yml').write_text(yaml.safe_dump(changed))
    write_suite(folder, entries=entries(two={'opt': 'other.yml'}))
    text = refused(capsys, folder)
    assert "entry 'two': stage 'second' learns from others, not from the suite's" in text and 'unfair: <reason>' in text


def test_an_experiment_that_learns_from_the_test_set_has_no_excuse(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copy.deepcopy(EXPERIMENT)
    changed['stages']['second']['datasets'] = {
        'train': {'type': 'UnpairedFaceDataset', 'dataroot_real_lq': 'test.lmdb', 'max_images': 2}
    }
    (folder / 'other.yml').write_text(yaml.safe_dump(changed))
    write_suite(folder, entries=entries(two={'opt': 'other.yml', 'unfair': 'please'}))
    text = refused(capsys, folder)
    assert "entry 'two': stage 'second' learns from the test set: test.lmdb.\n" in text


def test_weights_from_outside_need_a_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = {'path': {'pretrain_network_g': 'mine.pth'}}
    write_suite(folder, entries=entries(one={'set': changed}))
    assert "'path.pretrain_network_g' of stage 'first' brings weights along: mine.pth" in refused(capsys, folder)


def checkpoint(finished: tuple[Path, dict[str, Any]], folder: Path, **meta: Any) -> None:
    """The suite's own checkpoint, saying something else of itself."""
    content = torch.load(finished[0] / finished[1]['entries']['two']['checkpoint'], weights_only=True)
    content['meta'] |= meta
    torch.save(content, folder / 'net.pth')


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        ({'scale': 4}, 'has scale 4, the suite 2'),
        ({'degradation': None}, 'does not say what made its LR'),
        ({'iteration': 7}, 'has 7 iterations, the budget is 6'),
        ({'manifests': {}}, 'does not say by checksum what it was trained on'),
        ({'manifests': {'train': [{'checksum': 'abc'}]}}, 'was trained on abc, the suite'),
        ({'manifests': {'train': [{'checksum': ['abc']}]}}, 'does not say by checksum what it was trained on'),
    ],
)
def test_checkpoints_are_compared_too(
    finished: tuple[Path, dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str],
    meta: dict[str, Any], message: str,
) -> None:  # fmt: skip
    checkpoint(finished, folder, **meta)
    block: dict[str, Any] = {'file': {'checkpoint': 'net.pth'}}
    write_suite(folder, entries=block, reference=None, papers={})
    text = refused(capsys, folder)
    assert message in text
    block['file']['unfair'] = 'to see what more would bring'
    write_suite(folder, entries=block, reference=None, papers={})
    if 'scale' in meta:
        assert message in refused(capsys, folder)
        return
    block['file']['title'] = '[red]file'
    write_suite(folder, entries=block, reference='file', papers={})
    assert main(['bench', '-opt', 'suite.yml']) == 0
    assert '[red]file (reference) (unfair) ' in capsys.readouterr().out
    report = (folder / 'experiments/small_suite/report.md').read_text()
    assert (
        'to see what more would bring' in report
        and message in report
        and '| [red]file (reference) (unfair) |' in report
    )


def test_who_was_trained_on_the_test_set_has_no_excuse(
    finished: tuple[Path, dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(finished, folder, manifests={'train': [{'checksum': finished[1]['test']['checksums'][0]}]})
    write_suite(folder, entries={'file': {'checkpoint': 'net.pth', 'unfair': 'please'}}, reference=None, papers={})
    assert 'was trained on the test set' in refused(capsys, folder)
