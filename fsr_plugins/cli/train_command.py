"""``fsr train``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.cli.experiment import add_launcher, add_option_file, load, show_figures, show_tables
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.streams import spared

EXAMPLE = """fsr train -opt options/tsnet.yml --set train.total_iter=200
         torchrun --nproc_per_node=2 fsr_plugins/train.py -opt options/tsnet.yml --launcher pytorch"""


def add_arguments(parser: ArgumentParser) -> None:
    """BasicSR's arguments, and ``--set``."""
    add_option_file(parser)
    add_launcher(parser)
    parser.add_argument('--auto_resume', action='store_true', help='accepted as in BasicSR; rerunning always resumes')
    parser.add_argument(
        '--accept-changes',
        action='store_true',
        help='continue a stage with changed options or data; checkpoints record it',
    )


def run(arguments: Namespace) -> CommandOutcome:
    """Trains; the outcome is the experiment's summary."""
    experiment = load(arguments)
    from fsr_plugins import pipeline

    summary = pipeline.run(experiment, launcher=arguments.launcher, accept_changes=arguments.accept_changes)
    with spared(str(experiment.folder / 'summary.json')):
        show_figures(summary['validation'], summary['metrics'])
        show_tables(summary['tables'])
    return CommandOutcome(summary)
