"""``fsr measure``."""

from __future__ import annotations

import csv
import io
import math
from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.errors import UserError

EXAMPLE = """fsr measure results/ hr/ --metrics psnr ssim niqe --csv values.csv
         fsr measure results/ --metrics niqe"""


def add_arguments(parser: ArgumentParser) -> None:
    """Two folders and what is measured."""
    parser.add_argument('sr', type=given_path, nargs='?', metavar='SR', help='a folder of results, made by any program')
    parser.add_argument(
        'hr', type=given_path, nargs='?', metavar='HR', help='the folder of references, of the same names'
    )
    parser.add_argument(
        '--metrics',
        nargs='+',
        metavar='NAME',
        help='with a value of each image, see --list; default: psnr and ssim, of SR alone niqe',
    )
    parser.add_argument('--crop-border', type=int, metavar='N', help='pixels that PSNR and SSIM leave out at each side')
    parser.add_argument('--y', dest='test_y_channel', action='store_true', default=None, help='PSNR and SSIM of luma')
    parser.add_argument('--csv', type=given_path, metavar='FILE', help='write the values of each image')
    parser.add_argument('--list', action='store_true', help='name the metrics and end')


def run(arguments: Namespace) -> CommandOutcome:
    """Measures and prints the means."""
    from fsr_plugins.atomic import check_writable, write_atomically
    from fsr_plugins.bench.folders import image_metrics, matched, measure, open_metrics

    if arguments.list:
        names = sorted(image_metrics())
        print('\n'.join(names))
        return CommandOutcome({'metrics': names})
    if arguments.sr is None:
        raise UserError('fsr measure needs a folder of results: fsr measure SR HR. `fsr measure --list` names metrics.')
    if arguments.csv is not None:
        check_writable(arguments.csv, '--csv')
    pairs = matched(arguments.sr, arguments.hr)
    given = {name: getattr(arguments, name) for name in ('crop_border', 'test_y_channel')}
    given = {name: value for name, value in given.items() if value is not None}
    names = arguments.metrics or (['niqe'] if arguments.hr is None else ['psnr', 'ssim'])
    metrics = open_metrics(names, given)
    values = measure(pairs, metrics)
    if arguments.csv is not None:
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(['image', *values])
        rows.writerows(zip(pairs, *values.values(), strict=True))
        write_atomically(arguments.csv, lambda handle: handle.write(text.getvalue().encode('utf-8', 'surrogateescape')))
    means = {name: math.fsum(found) / len(found) for name, found in values.items()}
    for name, mean in means.items():
        print(f'{name}\t{mean:.4f}\t{metrics[name].convention}')
    print(f'{len(pairs)} images')
    images = {image: dict(zip(values, row, strict=True)) for image, *row in zip(pairs, *values.values(), strict=True)}
    return CommandOutcome({'means': means, 'images': images})
