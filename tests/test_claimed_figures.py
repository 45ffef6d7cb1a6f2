"""The READMEs of methods have the figures of the reports that they name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: By claim, what a row of the README begins with and the entry that it has the figures of.
ROWS = {
    'pkdn': {'bicubic': 'bicubic', 'ridge regression': 'ridge', '`alone`': 'alone', 'student': 'student'},
    'cface': {'bicubic': 'bicubic', 'squared errors alone': 'mse', 'with L_SI': 'l_si', 'with L_CF': 'cface'},
    'isrkd': {
        'bicubic': 'bicubic',
        'pretrained': 'pretrained',
        'incremental': 'incremental',
        '`without_kd`': 'without_kd',
    },
    'tsnet': {'bicubic |': 'bicubic', 'bicubic, colours': 'bicubic_matched', 'TNet': 'tnet', 'SNet': 'snet'},
}


@pytest.mark.parametrize(('claim', 'row', 'entry'), [(claim, *pair) for claim in ROWS for pair in ROWS[claim].items()])
def test_a_row_has_the_mean_of_its_entry(claim: str, row: str, entry: str) -> None:
    page = (ROOT / f'fsr_plugins/methods/{claim}/README.md').read_text(encoding='utf-8')
    table = page.split(f'docs/results/claims/{claim}/report.md', 1)[1]
    line = next(line for line in table.splitlines() if line.startswith(f'| {row}'))
    entries = json.loads((ROOT / f'docs/results/claims/{claim}/results.json').read_text(encoding='utf-8'))['entries']
    mean = entries[entry]['figures']['psnr']['mean']
    assert line.split('|')[2].strip().split(':')[0] == f'{mean:.2f}'
