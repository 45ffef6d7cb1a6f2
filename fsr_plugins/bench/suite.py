"""From a suite file to what is compared: read, checked, and every experiment composed with the suite applied to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from fsr_plugins import config
from fsr_plugins.bench.compose import ExperimentComposer
from fsr_plugins.bench.lineage import Lineage
from fsr_plugins.bench.options import (
    BICUBIC,
    MATCHED,
    Budget,
    Cost,
    Curves,
    OneShot,
    Paper,
    PaperRow,
    Pictures,
    Statistics,
    SuiteEntry,
    SuiteOptions,
    TrainStore,
)
from fsr_plugins.bench.variants import runs, with_ablations
from fsr_plugins.config import Experiment, overrides
from fsr_plugins.config.blocks import check_block, find_type, parameters
from fsr_plugins.config.bundled import located
from fsr_plugins.config.dataset_keys import check_dataset
from fsr_plugins.config.options import Block
from fsr_plugins.config.problems import Problems, fail
from fsr_plugins.config.yamlfile import DELETE, Document, read, without_marks
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import no_metric
from fsr_plugins.models.evaluation import HR
from fsr_plugins.registry import load_plugins, near

Options = TypeVar('Options', bound=BaseModel)

#: What the test set's block says where the suite file does not.
_TEST = {'type': 'FaceDataset', 'name': 'test', 'batch_size_per_gpu': 16, 'num_worker_per_gpu': 2}


@dataclass(frozen=True)
class Suite:
    """A suite file, checked.

    ``lineages`` has those of the entries that are experiments, of each as many as it has seeds; see :meth:`runs`.
    """

    options: SuiteOptions
    file: Path
    root: Path
    train: TrainStore | None
    test: Block
    budget: Budget | None
    entries: dict[str, SuiteEntry]
    lineages: dict[str, Lineage]
    curves: Curves | None
    cost: Cost
    statistics: Statistics
    pictures: Pictures
    papers: dict[str, Paper]
    paper_rows: dict[str, dict[str, PaperRow]]
    oneshot: Experiment | None
    sha256: str  #: of all that the file says, what it inherits included

    @property
    def name(self) -> str:
        """The suite's name, and its folder's."""
        return self.options.name

    @property
    def folder(self) -> Path:
        """Where everything of the suite is written."""
        return self.root / config.EXPERIMENTS / self.name

    def title(self, entry: str) -> str:
        """What an entry is called in the report."""
        return self.entries[entry].title or entry if entry in self.entries else entry

    def runs(self, entry: str) -> list[str]:
        """The names of an entry's trainings in ``lineages``; the first is the entry's own."""
        return list(runs(entry, self.entries[entry]))

    def run_options(self) -> Block:
        """What a stage's options would say of device, degradation and scale."""
        return {
            'num_gpu': self.options.num_gpu if isinstance(self.options.num_gpu, int) else 'auto',
            'manual_seed': self.options.manual_seed,
            'scale': self.options.scale,
            'degradation': self.options.degradation,
            'is_train': False,
            'path': {},
        }


def _read_suite(file: Path, given: Sequence[str]) -> Document:
    document = overrides.apply(read(file), given)
    if 'entries' not in document.values and {'model_type', 'datasets', 'stages'} & set(document.values):
        raise UserError(f'{file} is an experiment, and no suite, which compares several: `fsr train -opt {file}`.')
    return document


def load(file: str | Path, given: Sequence[str] = (), *, only: Sequence[str] = (), root: Path | None = None) -> Suite:
    """Reads, merges and checks a suite file and every option file that it names. Nothing is written.

    Args:
        file: the suite file.
        given: ``a.b=c`` each, as given to ``--set``.
        only: the entries that are wanted; none: all.
        root: the folder of ``experiments/``; the working directory if None.
    Raises:
        UserError: whatever is wrong, all at once, a line each with file, line and key.
    """
    file = located(file)
    document = _read_suite(file, given)
    lines: dict[str, None] = {}
    problems = Problems(lambda keys: config.place_of(document.places, keys, file), lines)
    values = {
        key: _without_marks(value) if key == 'entries' else without_marks(value)
        for key, value in document.values.items()
    }
    options: SuiteOptions | None = problems.validate(SuiteOptions, values, (), set(), 'a suite')
    fail(lines)
    assert options is not None  # by fail
    load_plugins(dict.fromkeys(options.plugins, f"{problems.place(('plugins',))}: key 'plugins'"))
    test = {**_TEST, **options.test}
    check_block(options.degradation, ('degradation',), problems, 'degradations')
    check_dataset(test, ('test',), problems, {'phase': 'test', 'scale': options.scale})
    _check_metrics(options, problems)
    entries = _blocks(problems, SuiteEntry, options.entries, 'entries')
    papers = _blocks(problems, Paper, options.papers, 'papers')
    train = _optional(problems, TrainStore, options.train, 'train')
    budget = _optional(problems, Budget, options.budget, 'budget')
    curves = _curves(problems, options)
    cost: Cost = problems.validate(Cost, options.cost, ('cost',), set(), "'cost'")
    statistics: Statistics = problems.validate(Statistics, options.statistics, ('statistics',), set(), "'statistics'")
    pictures: Pictures = problems.validate(Pictures, options.pictures, ('pictures',), set(), "'pictures'")
    oneshot = _optional(problems, OneShot, options.oneshot, 'oneshot')
    fail(lines)
    _check_names(options, entries, only, problems)
    entries = with_ablations(entries, problems)
    rows = _paper_rows(papers, entries, problems)
    _check_needs(entries, train, budget, problems)
    _check_clashes(entries, problems)
    fail(lines)
    chosen = {name: entry for name, entry in entries.items() if not only or name in only}
    root = Path.cwd() if root is None else root
    made = ExperimentComposer(options, train, curves, test, document, file, root)
    return Suite(
        options=options,
        file=file,
        root=root,
        train=train,
        test=test,
        budget=budget,
        entries=chosen,
        lineages=made.lineages(chosen, entries),
        curves=curves,
        cost=cost,
        statistics=statistics,
        pictures=pictures,
        papers=papers,
        paper_rows=rows,
        oneshot=None if oneshot is None else made.oneshot(oneshot),
        sha256=hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
    )


def _without_marks(entries: object) -> object:
    """Entries without ``_delete_`` but in ``set``, which is laid over an option file."""
    if not isinstance(entries, dict):
        return entries
    return {
        name: {key: value if key == 'set' else without_marks(value) for key, value in entry.items() if key != DELETE}
        if isinstance(entry, dict)
        else entry
        for name, entry in entries.items()
        if name != DELETE
    }


def _curves(problems: Problems, options: SuiteOptions) -> Curves | None:
    curves = _optional(problems, Curves, options.curves, 'curves')
    if curves is not None and curves.set is not None:
        faces = {'type': 'FaceDataset', 'name': 'curves', **curves.set}
        check_dataset(faces, ('curves', 'set'), problems, {'phase': 'val', 'scale': options.scale})
    return curves


def _optional(problems: Problems, kind: type[Options], block: Block | None, key: str) -> Options | None:
    return None if block is None else problems.validate(kind, block, (key,), set(), f"'{key}'")


def _paper_rows(
    papers: Mapping[str, Paper], entries: Mapping[str, SuiteEntry], problems: Problems
) -> dict[str, dict[str, PaperRow]]:
    """The rows of the papers' tables, each of an entry that there is, or of none."""
    rows = {
        name: _blocks(problems, PaperRow, paper.rows, f'papers.{name}.rows', ('papers', name, 'rows'))
        for name, paper in papers.items()
    }
    for name, table in rows.items():
        for row, content in table.items():
            if content.entry is not None and content.entry not in entries:
                hint = near(content.entry, entries)
                problems.add(('papers', name, 'rows', row, 'entry'), f"is '{content.entry}': no entry is.{hint}")
    return rows


def _blocks(
    problems: Problems, kind: type[Options], blocks: Mapping[str, Block], of: str, keys: tuple[str, ...] | None = None
) -> dict[str, Options]:
    above = (of,) if keys is None else keys
    found = {}
    for name, block in blocks.items():
        found[name] = problems.validate(kind, block, (*above, name), set(), f"'{of}.{name}'")
    return {name: block for name, block in found.items() if block is not None}


def _check_metrics(options: SuiteOptions, problems: Problems) -> None:
    for name, block in options.metrics.items():
        keys = ('metrics', name)
        metric = find_type(block, keys, problems, 'metrics')
        if metric is not None and hasattr(metric, 'update'):
            check_block(metric_arguments(block), keys, problems, 'metrics')
        elif metric is not None:
            problems.add((*keys, 'type'), f"is '{block['type']}', {no_metric(metric)}")
    if options.quality is not None and options.quality not in options.metrics:
        hint = near(options.quality, options.metrics)
        problems.add(('quality',), f"is '{options.quality}': no metric is named so.{hint}")


def metric_arguments(block: Block) -> Block:
    """A metric's block without ``optional``, which every metric of a suite may say, if its class does not know it."""
    from fsr_plugins.registry import METRIC_REGISTRY

    kind = block.get('type')
    knows = kind in METRIC_REGISTRY and 'optional' in parameters(METRIC_REGISTRY.get(kind))[0]
    return {key: value for key, value in block.items() if key != 'optional' or knows}


def _check_names(
    options: SuiteOptions, entries: Mapping[str, SuiteEntry], only: Sequence[str], problems: Problems
) -> None:
    if options.reference is not None and options.reference not in entries:
        hint = near(options.reference, entries)
        problems.add(('reference',), f"is '{options.reference}': no entry is named so.{hint}")
    for name in only:
        if name not in entries:
            there = ', '.join(entries)
            raise UserError(f'--entries {name}: no entry is named so (there are: {there}).{near(name, entries)}')


def _check_clashes(entries: Mapping[str, SuiteEntry], problems: Problems) -> None:
    """Refuses names by which one entry would stand for another, or for what a report shows beside them."""
    trained: dict[str, str] = {}
    titled: dict[str, str] = {}
    for name, entry in entries.items():
        # Bicubic enlargement is the row of that title itself.
        shown = {'LR', HR} if entry.type == BICUBIC else {'LR', HR, BICUBIC}
        if name == HR:
            problems.add(('entries', name), f"has the name of the originals, whose figures are taken as '{HR}'.")
        elif (title := entry.title or name) in shown:
            problems.add(('entries', name), f"is called '{title}' in the report, as a row of its pictures is.")
        elif (other := titled.setdefault(title, name)) != name:
            problems.add(('entries', name), f"is called '{title}' in the report, as '{other}' is.")
        for run in runs(name, entry):
            if (other := trained.setdefault(run, name)) != name:
                problems.add(('entries', name), f"would be trained as '{run}', and so would '{other}'.")


def _check_needs(
    entries: Mapping[str, SuiteEntry], train: TrainStore | None, budget: Budget | None, problems: Problems
) -> None:
    if any(entry.opt for entry in entries.values()):
        for key, block in (('train', train), ('budget', budget)):
            if block is None:
                problems.add((key,), 'is missing: the suite has entries that are trained, and they are to be alike.')
    elif train is None and any(entry.type == MATCHED for entry in entries.values()):
        problems.add(('train',), f"is missing: '{MATCHED}' takes the colours of its faces.")
