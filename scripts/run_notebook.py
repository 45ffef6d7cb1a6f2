"""Runs a notebook in a folder of its own, from its first cell to its last, and writes it with what came out.

    python scripts/run_notebook.py docs/tutorial.ipynb [--save]

Outputs are kept small: no progress, no times. Status 1 if a cell fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import nbformat
from messages import says_what_is_wrong
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

#: Seconds that a cell may take.
TIMEOUT = 900


def run(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that its cells have in ``folder``.

    Raises:
        CellExecutionError: a cell failed.
    """
    node = nbformat.read(notebook, as_version=4)
    for cell in node.cells:
        if cell.cell_type == 'code':
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(node, timeout=TIMEOUT, kernel_name='python3', resources={'metadata': {'path': str(folder)}})
    client.execute()
    for cell in node.cells:
        cell.metadata.pop('execution', None)
    return node


@says_what_is_wrong
def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('notebook', type=Path)
    parser.add_argument('--save', action='store_true', help='write the outputs into the notebook')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            node = run(arguments.notebook, Path(folder))
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            return 1
    if arguments.save:
        nbformat.write(node, arguments.notebook)
    print(f'{arguments.notebook}: {sum(cell.cell_type == "code" for cell in node.cells)} cells ran')
    return 0


if __name__ == '__main__':
    sys.exit(main())
