"""``fsr bench``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.experiment import show_tables
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins

EXAMPLE = """fsr bench -opt options/bench/portraits_x8.yml
         fsr bench -opt options/bench/portraits_x8.yml --evaluate-only --entries bicubic,edsr"""


def add_arguments(parser: ArgumentParser) -> None:
    """The suite file, and what of it."""
    parser.add_argument('-opt', '--opt', type=given_path, required=True, metavar='FILE', help='the suite file')
    parser.add_argument(
        '--set', action='append', default=[], metavar='KEY=VALUE', dest='overrides',
        help='change a key of the suite file, e.g. budget.iterations=500; may be repeated',
    )  # fmt: skip
    parser.add_argument('--entries', default='', metavar='A,B', help='only these entries; default: all')
    parser.add_argument('--evaluate-only', action='store_true', help='train nothing')
    add_plugins(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Trains, measures and reports; the outcome is the content of ``results.json``."""
    from fsr_plugins.bench import run as bench
    from fsr_plugins.bench import suite as suites
    from fsr_plugins.bench import table

    only = [name.strip() for name in arguments.entries.split(',') if name.strip()]
    suite = suites.load(arguments.opt, arguments.overrides, only=only)
    results = bench.run(suite, evaluate_only=arguments.evaluate_only)
    content = table.quality(results)
    columns = ['', *(f'{title} ({small})' if small else title for title, small in content.columns)]
    rows = [[row.marked, *(cell.text for cell in row.cells)] for row in content.rows]
    show_tables({content.title: [dict(zip(columns, row, strict=True)) for row in rows]})
    print(f'{suite.folder / "report.html"}')
    return CommandOutcome(results)
