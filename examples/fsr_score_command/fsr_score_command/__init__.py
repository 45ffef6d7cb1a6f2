"""``fsr score``, a command for fsr_plugins: measures images that anybody made by the metrics of option files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.errors import UserError

EXAMPLE = """fsr score results/ datasets/lfw_test --metrics PSNR SSIM LPIPS
         fsr score results/ datasets/lfw_test.lmdb --json figures.json"""


def add_arguments(parser: ArgumentParser) -> None:
    """Two stores, and metrics."""
    parser.add_argument('results', metavar='RESULTS', help='enlarged faces: folder, *.lmdb or what a plugin opens')
    parser.add_argument('references', metavar='HR', help='the true faces under the same keys, in any of these')
    parser.add_argument(
        '--metrics', nargs='+', default=['PSNR', 'SSIM'], metavar='NAME',
        help='what `fsr list metrics` shows; default: PSNR SSIM',
    )  # fmt: skip


def run(arguments: Namespace) -> CommandOutcome:
    """Measures, prints a line a figure, and hands all of them back for ``--json``."""
    # Here, not above: `fsr score --help` does not wait for torch.
    import torch

    from fsr_plugins.registry import build, load_plugins
    from fsr_plugins.stores import open_store

    load_plugins()
    metrics = {name: build('metrics', {'type': name}) for name in arguments.metrics}
    results, references = open_store(arguments.results), open_store(arguments.references)
    lonely = sorted(set(results.keys).symmetric_difference(references.keys))
    if lonely:
        raise UserError(f"'{lonely[0]}' is in one of '{results.path}' and '{references.path}' only: make them equal.")
    with results.reader() as result, references.reader() as reference:
        for key in results.keys:
            sr, gt = (torch.from_numpy(read(key).copy()).permute(2, 0, 1)[None] / 255 for read in (result, reference))
            meta = {'keys': [key], 'net': 'result', 'cache': {}}
            for metric in metrics.values():
                metric.update(sr, gt, meta)
    figures = {name: metric.compute() for name, metric in metrics.items()}
    for name, values in figures.items():
        print(f'{name}: {", ".join(f"{value:.4f}" for value in values.values())} ({metrics[name].convention})')
    conventions = {name: metric.convention for name, metric in metrics.items()}
    return CommandOutcome({'images': len(results), 'figures': figures, 'conventions': conventions})
