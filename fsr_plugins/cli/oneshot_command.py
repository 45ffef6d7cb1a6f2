"""``fsr oneshot``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.cli.experiment import add_option_file, load, show_tables
from fsr_plugins.cli.outcome import CommandOutcome

EXAMPLE = """fsr oneshot -opt options/dapfsr.yml
         fsr oneshot -opt options/dapfsr.yml --set oneshot.exemplars=3 --json figures.json"""


def add_arguments(parser: ArgumentParser) -> None:
    """The option file, whose block ``oneshot`` says what is repeated."""
    add_option_file(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Adapts and measures; the outcome is the content of ``oneshot.json``."""
    experiment = load(arguments)
    from fsr_plugins.adaptation import oneshot
    from fsr_plugins.adaptation import report as oneshot_report

    summary = oneshot.run(experiment)
    tables = {f"One-shot adaptation to '{summary['set']}'": oneshot_report.cells(summary)}
    if summary['differences']:
        tables['Differences, exemplar by exemplar'] = oneshot_report.difference_cells(summary)
    show_tables(tables)
    for name, metric in summary['metrics'].items():
        print(f'{name}: {metric["convention"]}')
    print(summary['how'])
    return CommandOutcome(summary)
