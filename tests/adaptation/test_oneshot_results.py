"""What ``fsr oneshot`` builds on and leaves is looked at before it is relied on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from test_oneshot import experiments, folder, refused, run, trained  # noqa: F401  fixtures

from fsr_plugins.cli import main
from fsr_plugins.engine.lock import only_writer
from fsr_plugins.metrics.psnr_ssim import PSNR

SOURCE = 'experiments/demo/source/models/net_g_latest.pth'
REPEAT = 'experiments/demo/oneshot/left/adapt_0'


def remove(file: Path) -> None:
    file.unlink()


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize('damage', [remove, flip_a_bit])
@pytest.mark.parametrize('name', [SOURCE, f'{REPEAT}/net_sr_difference.pth', f'{REPEAT}/faces/result.png'])
def test_a_result_that_is_gone_or_damaged_is_refused(
    trained: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[Path], None],
) -> None:
    run()
    damage(trained / name)
    message = refused(trained, capsys)
    assert 'is finished, but its result' in message and name in message


@pytest.mark.parametrize('content', ['', '{"stage": "adapt", "spl', '[]', '{}'])
def test_a_record_cut_short_is_named_and_the_repeat_done_again(
    trained: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    content: str,
) -> None:
    found = run()
    (trained / REPEAT / 'done.json').write_text(content)
    capsys.readouterr()
    again = run()
    assert f"{REPEAT}/done.json' is damaged" in capsys.readouterr().out
    assert again['table'] == found['table']
    assert [repeat['sha256'] for repeat in again['repeats']] == [repeat['sha256'] for repeat in found['repeats']]


def test_a_record_of_before_says_nothing_of_its_files(trained: Path) -> None:  # noqa: F811
    found = run()
    done = trained / REPEAT / 'done.json'
    record = json.loads(done.read_text())
    del record['files']
    done.write_text(json.dumps(record))
    assert run()['table'] == found['table']


def test_figures_that_are_no_numbers_are_null(
    trained: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(PSNR, 'compute', lambda self: {'psnr': math.inf})
    found = run()
    assert found['table'][-1]['figures']['psnr'] == {'mean': None, 'deviation': None}
    for file in trained.glob('experiments/demo/**/*.json'):
        assert 'NaN' not in file.read_text() and 'Infinity' not in file.read_text()
    assert 'not finite' in capsys.readouterr().out
    assert run()['table'] == found['table']


def test_another_process_is_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    with only_writer(trained / 'experiments/demo'):
        assert 'is in use' in refused(trained, capsys)
    assert main(['oneshot', '-opt', 'o.yml']) == 0
