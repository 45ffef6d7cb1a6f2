"""``fsr doctor``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from fsr_plugins.cli.experiment import add_option_file, load
from fsr_plugins.cli.outcome import CommandOutcome

EXAMPLE = 'fsr doctor -opt options/tsnet.yml'


def add_arguments(parser: ArgumentParser) -> None:
    """The option file."""
    add_option_file(parser)


def run(arguments: Namespace) -> CommandOutcome:
    """Prints one line a check; the status is 2 if one found an error. Nothing that training would build is left."""
    experiment = load(arguments)
    from fsr_plugins import preflight
    from fsr_plugins.stores.once import built_in

    with TemporaryDirectory(prefix='fsr_doctor_') as folder, built_in(Path(folder)):
        report = preflight.inspect(experiment, dry_steps=True)
        built = [path.name for path in sorted(Path(folder).iterdir()) if not path.name.startswith('.')]
    for name in built:
        message = f'{name} is not there yet: training makes it, once; here a few drawings stood for all'
        report.findings.append(preflight.Finding('warning', '', 'built faces', message))
    for finding in report.findings:
        # A name may be longer than its column.
        print(f'{finding.level:<7} {finding.stage or experiment.name:<15} {finding.check:<15} {finding.message}')
    return CommandOutcome(report.as_dict(), status=2 if report.errors else 0)
