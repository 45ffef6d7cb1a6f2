"""``fsr doctor``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fsr_plugins.cli.experiment import add_option_file, load
from fsr_plugins.cli.outcome import CommandOutcome

EXAMPLE = 'fsr doctor -opt options/tsnet.yml'


def add_arguments(parser: ArgumentParser) -> None:
    """The option file."""
    add_option_file(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Prints one line a check; the status is 2 if one found an error."""
    experiment = load(arguments)
    from fsr_plugins import preflight

    report = preflight.inspect(experiment, dry_steps=True)
    for finding in report.findings:
        print(f'{finding.level:<8}{finding.stage or experiment.name:<16}{finding.check:<16}{finding.message}')
    return CommandOutcome(report.as_dict(), status=2 if report.errors else 0)
