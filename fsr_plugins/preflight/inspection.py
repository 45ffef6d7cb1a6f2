"""Everything that can be found wrong before training: data, weights, disk, devices, and one dry step a stage.

The option file itself is checked by :func:`fsr_plugins.config.load`. Nothing is written into ``experiments/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Literal

from torch import nn

from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.finished import is_finished
from fsr_plugins.engine import generators
from fsr_plugins.errors import DiskError, NoRoomError, RunError, UserError
from fsr_plugins.preflight import checks
from fsr_plugins.preflight.checks import Later
from fsr_plugins.preflight.dry_step import dry_step
from fsr_plugins.preflight.recognisers import check_recognisers
from fsr_plugins.preflight.schedules import rehearse
from fsr_plugins.preflight.standing import Standing, standing
from fsr_plugins.values import Record


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    level: Literal['ok', 'later', 'warning', 'error']
    stage: str  #: the stage, or an empty string for the whole experiment
    check: str  #: what was looked at
    message: str


@dataclass
class Report:
    """All findings, in the order of the checks."""

    findings: list[Finding] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)  #: stages made of what is going to be trained further
    standings: dict[str, Standing] = field(default_factory=dict)  #: of the stages of which it could be found out
    no_room: NoRoomError | None = None

    @property
    def errors(self) -> list[Finding]:
        """The findings for which training cannot begin."""
        return [finding for finding in self.findings if finding.level == 'error']

    @property
    def warnings(self) -> list[str]:
        """What training begins in spite of, each once."""
        return list(dict.fromkeys(finding.message for finding in self.findings if finding.level == 'warning'))

    def as_dict(self) -> Record:
        """Plain values, for ``--json``."""
        return {'ok': not self.errors, 'findings': [asdict(finding) for finding in self.findings]}

    def raise_errors(self) -> None:
        """Ends with every error, a line each.

        Raises:
            NoRoomError: there is too little room on a disk, and nothing else is wrong.
            UserError: there is at least one.
        """
        if self.no_room is not None and len(self.errors) == 1:
            raise self.no_room
        if self.errors:
            raise UserError('\n'.join(dict.fromkeys(finding.message for finding in self.errors)))

    def attempt(self, stage: str, check: str, work: Callable[[], list[str]], good: str) -> bool:
        """Runs one check, which returns warnings and raises errors, and notes what it found; True without an error.

        What is :class:`~fsr_plugins.preflight.checks.Later` is no warning: a stage that is not done will make it.

        ``good`` is noted only where nothing else is: a warning may say that something was not looked at.

        Raises:
            DiskError: what has to be made once cannot be written; no other check would go better.
        """
        try:
            warnings = work()
        except DiskError:
            raise
        except (UserError, RunError) as error:
            self.findings.append(Finding('error', stage, check, str(error)))
            self.no_room = error if isinstance(error, NoRoomError) else self.no_room
            return False
        found = [
            Finding('later' if isinstance(warning, Later) else 'warning', stage, check, str(warning))
            for warning in warnings
        ]
        self.findings += found or [Finding('ok', stage, check, good)]
        return True


def check(
    experiment: Experiment,
    *,
    dry_steps: bool,
    skip: Collection[str] = (),
    dry_skip: Collection[str] = (),
    processes: int | None = None,
    accept: bool = False,
) -> Report:
    """:func:`inspect`, for those who cannot go on with errors.

    Raises:
        NoRoomError: see :meth:`Report.raise_errors`.
        UserError: every error found, a line each.
    """
    report = inspect(experiment, dry_steps=dry_steps, skip=skip, dry_skip=dry_skip, processes=processes, accept=accept)
    report.raise_errors()
    return report


def inspect(
    experiment: Experiment,
    *,
    dry_steps: bool,
    skip: Collection[str] = (),
    dry_skip: Collection[str] = (),
    processes: int | None = None,
    accept: bool = False,
) -> Report:
    """Looks at everything an experiment needs; errors are findings, not exceptions. The random state is left as it was.

    Args:
        dry_steps: also train one iteration of each stage on one batch, try its validation and follow its learning
            rates, in memory only.
        skip: finished stages, of which only the options are looked at.
        dry_skip: stages without a dry step.
        processes, accept: see :func:`~fsr_plugins.preflight.standing.standing`.
    """
    report = Report()
    stages = [stage for name, stage in experiment.stages.items() if name not in skip]
    state = generators.random_state()
    try:
        needed = 0
        seen: set[str] = set()
        # Where a folder is missing no set is read or drawn before that is said.
        absent = any(checks.lacks_folders(experiment, stage) for stage in stages)
        for stage in () if absent else experiment.stages.values():
            stands = partial(_stands, report, experiment, stage, processes, accept)
            report.attempt(stage.name, 'options', stands, 'nothing is there that was begun with others')
            if is_finished(stage):
                report.attempt(stage.name, 'results', partial(checks.results, stage), 'all are there, whole and finite')
        for stage in stages:
            bytes_, good = _inspect_stage(report, experiment, stage, seen, draws=not absent)
            needed += bytes_
            if dry_steps:
                rehearsal = partial(rehearse, stage)
                good &= report.attempt(stage.name, 'schedule', rehearsal, 'rates can be had to the last iteration')
            if dry_steps and good and not absent and stage.name not in dry_skip:
                dry = partial(dry_step, experiment, stage)
                validates = stage.options.val_freq and stage.options.validation_sets
                trains = f'one iteration trains{", one batch validates" if validates else ""}'
                done = 'one batch of the set is made' if stage.generates_set else trains
                report.attempt(stage.name, 'dry step', dry, done)
        report.attempt('', 'disk', partial(checks.disk, experiment, needed), f'about {needed / 1e6:.0f} MB are needed')
    finally:
        generators.set_random_state(state)
    return report


def _stands(report: Report, experiment: Experiment, stage: Stage, processes: int | None, accept: bool) -> list[str]:
    """Notes where a stage stands. What was made of a stage that is about to go on will be out of date."""
    stands = standing(stage, processes=processes, accept=accept)
    report.standings[stage.name] = stands
    going_on = [
        name
        for name in stage.needs
        if name in report.stale
        or (needed := report.standings.get(name)) is not None
        and needed.record is None
        and 0 < needed.iteration < experiment.stages[name].train.total_iter
    ]
    if going_on and (stands.record is not None or stands.iteration):
        report.stale.add(stage.name)
    if stage.name in report.stale and not accept:
        raise UserError(
            f"Stage '{stage.name}' was made from stage '{going_on[0]}', which will be trained further: "
            "put its options back, choose another 'name', or let --accept-changes train both (what is there is kept)."
        )
    return [f"Stage '{stage.name}' goes on with accepted changes: {line}" for line in stands.changes]


def _inspect_stage(
    report: Report, experiment: Experiment, stage: Stage, seen: set[str], draws: bool
) -> tuple[int, bool]:
    """Everything but the dry step; the bytes the stage will write, and whether there was no error.

    Args:
        seen: sets that were looked at.
        draws: whether sets may be looked at that a scheme has to make.
    """
    nets: dict[str, nn.Module] = {}
    attempts = [
        ('devices', partial(checks.devices, stage), 'num_gpu fits this machine'),
        ('scale', partial(checks.scale, stage), 'the degradation has no other'),
    ]
    if not stage.generates_set and not stage.is_hosted:
        attempts.append(('losses', partial(checks.losses_of, stage), 'the model has what it learns by'))
    for phase, data in stage.options.sets.items():
        work = json.dumps([phase.split('_')[0], data.block, stage.options.scale], sort_keys=True)
        drawn = any('://' in root for root in checks.roots(data.block))
        if work not in seen and (draws or not drawn):  # stages share sets through the common part
            seen.add(work)
            attempts.append((f'data {phase}', partial(checks.data, experiment, stage, phase), 'every image is good'))
    attempts += [
        ('networks', partial(checks.networks, stage, nets), 'all can be built'),
        ('weights', partial(checks.weights, experiment, stage, nets), 'all fit'),
        ('resume_state', partial(checks.resume_state, stage, nets), 'a state to begin with is whole, if one is named'),
        ('recognisers', partial(check_recognisers, experiment, stage), 'none that was trained with measures'),
        ('requirements', partial(checks.requirements, experiment, stage), 'the files of metrics and losses are there'),
    ]
    good = [report.attempt(stage.name, name, work, message) for name, work, message in attempts]
    return checks.disk_bytes(experiment, stage, nets) if all(good) else 0, all(good)
