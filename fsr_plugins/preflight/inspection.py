"""Everything that can be found wrong before training: data, weights, disk, devices, and one dry step a stage.

The option file itself is checked by :func:`fsr_plugins.config.load`. Nothing is written into ``experiments/``.
Built-in faces that are not there yet are drawn when nothing else is wrong: until then a few stand for all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from torch import nn

from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.finished import is_finished
from fsr_plugins.engine import generators
from fsr_plugins.errors import DiskError, NoRoomError, RunError, UserError
from fsr_plugins.portraits.store import takes_long
from fsr_plugins.preflight import checks
from fsr_plugins.preflight.checks import Later
from fsr_plugins.preflight.dry_step import dry_step
from fsr_plugins.preflight.recognisers import check_recognisers
from fsr_plugins.preflight.schedules import rehearse
from fsr_plugins.preflight.standing import Standing, standing
from fsr_plugins.stores.once import built_in, leaves_nothing
from fsr_plugins.values import Record

logger = logging.getLogger(__name__)

_GOOD_DATA = 'every image is good'


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
    state = generators.random_state()
    look = _Look(experiment, report, dry_steps, skip, dry_skip, processes, accept)
    drawing = [] if leaves_nothing() else [stage for stage in look.stages if _draws(stage)]
    try:
        with ExitStack() as held:
            if drawing:
                # To draw all takes minutes: whatever is wrong shall be said before.
                logger.info('Faces are yet to be drawn. What else is needed is looked at first; a few stand for all.')
                folder = held.enter_context(TemporaryDirectory(prefix='fsr_'))
                held.enter_context(built_in(Path(folder), faces_alone=True))
            look.at_everything()
        if drawing and not report.errors:
            look.at_drawn_faces(drawing)
    finally:
        generators.set_random_state(state)
    return report


@dataclass
class _Look:
    """An inspection; for the fields see :func:`inspect`."""

    experiment: Experiment
    report: Report
    dry_steps: bool
    skip: Collection[str]
    dry_skip: Collection[str]
    processes: int | None
    accept: bool

    @property
    def stages(self) -> list[Stage]:
        """Those that are not skipped."""
        return [stage for name, stage in self.experiment.stages.items() if name not in self.skip]

    def at_everything(self) -> None:
        """All checks of all stages."""
        experiment, report = self.experiment, self.report
        needed = 0
        seen: set[str] = set()
        # Where a folder is missing no set is read or drawn before that is said.
        absent = any(checks.lacks_folders(experiment, stage) for stage in self.stages)
        if not absent:
            self._where_stages_stand()
        for stage in () if absent else experiment.stages.values():
            if is_finished(stage):
                report.attempt(stage.name, 'results', partial(checks.results, stage), 'all are there, whole and finite')
        for stage in self.stages:
            bytes_, good = _inspect_stage(report, experiment, stage, seen, draws=not absent)
            needed += bytes_
            if self.dry_steps:
                rehearsal = partial(rehearse, stage)
                good &= report.attempt(stage.name, 'schedule', rehearsal, 'rates can be had to the last iteration')
            if self.dry_steps and good and not absent and stage.name not in self.dry_skip:
                dry = partial(dry_step, experiment, stage)
                validates = stage.options.val_freq and stage.options.validation_sets
                trains = f'one iteration trains{", one batch validates" if validates else ""}'
                done = 'one batch of the set is made' if stage.generates_set else trains
                report.attempt(stage.name, 'dry step', dry, done)
        report.attempt('', 'disk', partial(checks.disk, experiment, needed), f'about {needed / 1e6:.0f} MB are needed')

    def at_drawn_faces(self, stages: Sequence[Stage]) -> None:
        """Draws faces, and looks once more at what a few could not tell of all: where stages stand, and their sets.

        Args:
            stages: those with built-in faces that are not there.
        """
        self._where_stages_stand()
        seen: set[str] = set()
        for stage in stages:
            for name, work in _data_checks(self.experiment, stage, seen, draws=True):
                self.report.attempt(stage.name, name, work, _GOOD_DATA)

    def _where_stages_stand(self) -> None:
        for stage in self.experiment.stages.values():
            stands = partial(_stands, self.report, self.experiment, stage, self.processes, self.accept)
            self.report.attempt(stage.name, 'options', stands, 'nothing is there that was begun with others')


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
    attempts: list[tuple[str, Callable[[], list[str]], str]] = [
        ('devices', partial(checks.devices, stage), 'num_gpu fits this machine'),
        ('scale', partial(checks.scale, stage), 'the degradation has no other'),
    ]
    if not stage.generates_set and not stage.is_hosted:
        attempts.append(('losses', partial(checks.losses_of, stage), 'the model has what it learns by'))
    attempts += [(name, work, _GOOD_DATA) for name, work in _data_checks(experiment, stage, seen, draws)]
    attempts += [
        ('networks', partial(checks.networks, stage, nets), 'all can be built'),
        ('weights', partial(checks.weights, experiment, stage, nets), 'all fit'),
        ('resume_state', partial(checks.resume_state, stage, nets), 'a state to begin with is whole, if one is named'),
        ('recognisers', partial(check_recognisers, experiment, stage), 'none that was trained with measures'),
        ('requirements', partial(checks.requirements, experiment, stage), 'the files of metrics and losses are there'),
    ]
    good = [report.attempt(stage.name, name, work, message) for name, work, message in attempts]
    return checks.disk_bytes(experiment, stage, nets) if all(good) else 0, all(good)


def _draws(stage: Stage) -> bool:
    """Whether a set is of built-in faces that are yet to be drawn, which takes long."""
    return any(takes_long(root) for data in stage.options.sets.values() for root in checks.roots(data.block))


def _data_checks(
    experiment: Experiment, stage: Stage, seen: set[str], draws: bool
) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """The checks of the sets that were not looked at yet, by their names; arguments as of :func:`_inspect_stage`."""
    for phase, data in stage.options.sets.items():
        work = json.dumps([phase.split('_')[0], data.block, stage.options.scale], sort_keys=True)
        drawn = any('://' in root for root in checks.roots(data.block))
        if work not in seen and (draws or not drawn):  # stages share sets through the common part
            seen.add(work)
            yield f'data {phase}', partial(checks.data, experiment, stage, phase)
