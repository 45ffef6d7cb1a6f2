"""The notebook of the documents runs from its first cell to its last, and what it shows is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / 'docs/tutorial.ipynb'


def test_the_notebook_is_small_and_has_its_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    assert NOTEBOOK.stat().st_size < 1_500_000
    assert all(cell['outputs'] or ';' in ''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
    assert not any(output['output_type'] == 'error' for cell in cells for output in cell.get('outputs', ()))


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('nbclient', reason='needs the extra docs')
    pytest.importorskip('ipykernel', reason='needs the extra docs')
    monkeypatch.syspath_prepend(str(ROOT / 'scripts'))
    import run_notebook

    node = run_notebook.run(NOTEBOOK, tmp_path)
    printed = ''.join(output.get('text', '') for cell in node.cells for output in cell.get('outputs', ()))
    assert printed.count('restored: True') >= 4
    result = json.loads((tmp_path / 'experiments/tutorial/summary.json').read_text(encoding='utf-8'))
    assert json.dumps(result).count('psnr') >= 2
