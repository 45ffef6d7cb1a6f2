"""Option files are merged without a library that keeps a file which other processes may be writing meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_merging_imports_no_yapf(tmp_path: Path) -> None:
    (tmp_path / 'base.yml').write_text('a: {b: 1, c: 2}\n')
    (tmp_path / 'o.yml').write_text('_base_: base.yml\na: {c: 3}\n')
    code = (
        'import sys\nfrom pathlib import Path\nfrom fsr_plugins.config import yamlfile\n'
        f'print(yamlfile.read(Path({str(tmp_path / "o.yml")!r})).values)\n'
        "print([name for name in ('mmengine', 'yapf') if name in sys.modules])\n"
        # It can be had by whoever asks for it.
        "from mmengine.config import Config\nprint(Config({'a': {'b': 1}}).pretty_text.strip())"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["{'a': {'b': 1, 'c': 3}}", "['mmengine']", 'a = dict(b=1)'], done.stderr
