"""``fsr measure``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins
from fsr_plugins.errors import UserError
from fsr_plugins.wording import many

EXAMPLE = """fsr measure results/ datasets/lfw_test --metrics psnr ssim niqe --csv by_image.csv
         fsr measure results/ lfw_test.lmdb --template '{}_x8' --identity weights/mobilefacenet_casia.ckpt"""


def add_arguments(parser: ArgumentParser) -> None:
    """Two sets of images, and metrics."""
    parser.add_argument('results', nargs='?', metavar='SR', help='enlarged images: a folder, *.lmdb or another store')
    parser.add_argument(
        'references', nargs='?', metavar='HR', help='the true images, likewise; without HR, only metrics that need none'
    )
    parser.add_argument(
        '--metrics', nargs='+', metavar='NAME',
        help="names, or blocks: '{type: PSNR, crop_border: 4}'; default: psnr ssim, or niqe without HR",
    )  # fmt: skip
    parser.add_argument(
        '--identity', metavar='WEIGHTS',
        help='likeness of faces to HR by a recogniser: its weights, or its name to fetch them; if HR has identities, '
        'also verification over all pairs',
    )  # fmt: skip
    parser.add_argument('--pairs', type=given_path, metavar='FILE', help='with --identity, verification on this list')
    parser.add_argument('--csv', type=given_path, metavar='FILE', help='write the values of each image to FILE')
    parser.add_argument('--list', action='store_true', help='list the metrics and exit')
    parser.add_argument('--template', metavar='TEXT', help="the results' names, from HR's: '{}_x8'")
    parser.add_argument(
        '--crop-border', type=int, metavar='N', help='pixels left out at each side, for metrics that take it'
    )
    parser.add_argument('--y', dest='test_y_channel', action='store_true', default=None, help='PSNR and SSIM of luma')
    parser.add_argument('--recursive', action='store_true', help='also take subfolders')
    parser.add_argument('--device', default='auto', metavar='NAME', help='auto (default), cpu, cuda, cuda:1 …')
    add_plugins(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Measures, prints a line a figure, writes the table."""
    from fsr_plugins.registry import load_plugins

    load_plugins()
    if arguments.list:
        return _list()
    if arguments.results is None:
        raise UserError('fsr measure needs a folder of results: fsr measure SR HR. `fsr measure --list` shows metrics.')
    from fsr_plugins import measuring
    from fsr_plugins.atomic import check_replaceable
    from fsr_plugins.restore.opening import device_named
    from fsr_plugins.stores import open_store

    if arguments.csv is not None:
        check_replaceable(arguments.csv, '--csv', 'table of images', measuring.is_table)
    if arguments.template is not None and arguments.references is None:
        raise UserError("--template is of HR's names: name the folder of HR behind that of the results.")
    results = open_store(arguments.results, arguments.recursive)
    references = None
    if arguments.references is not None:
        references = open_store(arguments.references, arguments.recursive)
        pairs = measuring.matched(results.keys, references.keys, arguments.template)
    else:
        pairs = [(key, key) for key in results.keys]
    options = {name: getattr(arguments, name) for name in ('crop_border', 'test_y_channel')}
    metrics = measuring.chosen_metrics(
        arguments.metrics or (['niqe'] if references is None else ['psnr', 'ssim']),
        {name: value for name, value in options.items() if value is not None},
    )
    if arguments.identity is not None:
        if references is None:
            raise UserError('--identity compares with HR: name its folder behind that of the results.')
        measured_hr = [reference for _, reference in pairs]
        metrics |= measuring.identity_metrics(
            measuring.recogniser_block(arguments.identity), references, measured_hr, arguments.pairs
        )
    elif arguments.pairs is not None:
        raise UserError('--pairs is for --identity: give it the weights of a recogniser.')
    measured = measuring.measure(metrics, results, references, pairs, device_named(arguments.device))
    conventions = {name: metric.convention for name, metric in metrics.items()}
    of = f' of {len(references)} HR' if references is not None and len(references) > len(pairs) else ''
    print(f'{many(len(pairs), "image")}{of}')
    for name, values in measured.figures.items():
        if not values:
            print(f'{name}: {conventions[name]}')
            continue
        own, *beside = [f'{value:.6g}' if number else f'{value:.4f}' for number, value in enumerate(values.values())]
        more = ''.join(f', {key} {value}' for key, value in zip(list(values)[1:], beside, strict=True))
        print(f'{name}: {own}{more} ({conventions[name]})')
    if arguments.csv is not None:
        measuring.write_csv(arguments.csv, measured)
    return CommandOutcome(
        {
            'figures': measured.figures,
            'means': {name: next(iter(values.values())) for name, values in measured.figures.items() if values},
            'conventions': conventions,
            'images': measured.rows(),
        }
    )


def _list() -> CommandOutcome:
    from fsr_plugins.measuring import shown_metrics

    lines = shown_metrics()
    for line in lines:
        print('\t'.join(line))
    return CommandOutcome({'metrics': [line._asdict() for line in lines]})
