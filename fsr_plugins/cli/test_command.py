"""``fsr test``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from fsr_plugins.cli.experiment import add_launcher, add_option_file, load, show_figures, show_tables
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins

EXAMPLE = 'fsr test -opt options/tsnet.yml --json figures.json'


def add_arguments(parser: ArgumentParser) -> None:
    """The option file the experiment was trained with, or one of networks that have weights already."""
    add_option_file(parser)
    add_launcher(parser)
    add_plugins(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Measures; the outcome is the figures by set, net and metric."""
    experiment = load(arguments, tests=True)
    from fsr_plugins import pipeline

    found = pipeline.evaluate(experiment, launcher=arguments.launcher)
    show_figures(found['validation'], found['metrics'])
    show_tables(found['tables'])
    if 'pictures' in found and os.environ.get('RANK', '0') == '0':
        print(f'Pictures: {found["pictures"]}')
    return CommandOutcome(found)
