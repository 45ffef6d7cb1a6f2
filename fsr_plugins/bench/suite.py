"""From a suite file to what is compared: read, checked, and every experiment composed with the suite applied to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fsr_plugins import config
from fsr_plugins.bench.apply_suite import apply_suite
from fsr_plugins.bench.lineage import Lineage, lineage_of
from fsr_plugins.bench.options import (
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
from fsr_plugins.config import Experiment, overrides
from fsr_plugins.config.blocks import check_block, parameters
from fsr_plugins.config.dataset_keys import check_dataset
from fsr_plugins.config.problems import Problems, fail
from fsr_plugins.config.yamlfile import Document, merge, read, without_marks
from fsr_plugins.errors import UserError
from fsr_plugins.registry import load_plugins, near

#: What the test set's block says where the suite file does not.
_TEST = {'type': 'FaceDataset', 'name': 'test', 'batch_size_per_gpu': 16, 'num_worker_per_gpu': 2}


@dataclass(frozen=True)
class Suite:
    """A suite file, checked. ``lineages`` has those of the entries that are experiments."""

    options: SuiteOptions
    file: Path
    root: Path
    train: TrainStore | None
    test: dict[str, Any]
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

    def run_options(self) -> dict[str, Any]:
        """What a stage's options would say of device, degradation and scale."""
        return {
            'num_gpu': self.options.num_gpu if isinstance(self.options.num_gpu, int) else None,
            'manual_seed': self.options.manual_seed,
            'scale': self.options.scale,
            'degradation': self.options.degradation,
            'is_train': False,
            'path': {},
        }


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
    file = Path(file)
    document = overrides.apply(read(file), given)
    lines: dict[str, None] = {}
    problems = Problems(lambda keys: config.place_of(document.places, keys, file), lines)
    values = {key: value if key == 'entries' else without_marks(value) for key, value in document.values.items()}
    options: SuiteOptions | None = problems.validate(SuiteOptions, values, (), set(), 'a suite')
    fail(lines)
    assert options is not None  # by fail
    load_plugins(options.plugins)
    test = {**_TEST, **options.test}
    check_block(options.degradation, ('degradation',), problems, 'degradations')
    check_dataset(test, ('test',), problems, {'phase': 'test', 'scale': options.scale})
    _check_metrics(options, problems)
    entries = _blocks(problems, SuiteEntry, options.entries, 'entries')
    papers = _blocks(problems, Paper, options.papers, 'papers')
    parts = _parts(options, problems)
    fail(lines)
    _check_names(options, entries, only, problems)
    rows = _paper_rows(papers, entries, problems)
    _check_needs(entries, parts['train'], parts['budget'], problems)
    fail(lines)
    chosen = {name: entry for name, entry in entries.items() if not only or name in only}
    root = Path.cwd() if root is None else root
    made = ExperimentComposer(options, parts['train'], parts['curves'], test, document, file, root)
    oneshot: OneShot | None = parts.pop('oneshot')
    return Suite(
        options=options,
        file=file,
        root=root,
        test=test,
        entries=chosen,
        lineages=made.lineages(chosen),
        papers=papers,
        paper_rows=rows,
        oneshot=None if oneshot is None else made.oneshot(oneshot),
        sha256=hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
        **parts,
    )


def _parts(options: SuiteOptions, problems: Problems) -> dict[str, Any]:
    """The blocks that are one object each, by name; None for one that is not given or wrong."""
    kinds: dict[str, type[BaseModel]] = {
        'train': TrainStore,
        'budget': Budget,
        'curves': Curves,
        'cost': Cost,
        'statistics': Statistics,
        'pictures': Pictures,
        'oneshot': OneShot,
    }
    blocks = {key: getattr(options, key) for key in kinds}
    return {
        key: None if block is None else problems.validate(kinds[key], block, (key,), set(), f"'{key}'")
        for key, block in blocks.items()
    }


def _paper_rows(
    papers: Mapping[str, Paper], entries: Mapping[str, SuiteEntry], problems: Problems
) -> dict[str, dict[str, PaperRow]]:
    """The rows of the papers' tables, each of an entry that there is, or of none."""
    rows: dict[str, dict[str, PaperRow]] = {
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
    problems: Problems, kind: Any, blocks: Mapping[str, Any], of: str, keys: tuple[str, ...] | None = None
) -> dict[str, Any]:
    above = (of,) if keys is None else keys
    found = {}
    for name, block in blocks.items():
        found[name] = problems.validate(kind, block, (*above, name), set(), f"'{of}.{name}'")
    return {name: block for name, block in found.items() if block is not None}


def _check_metrics(options: SuiteOptions, problems: Problems) -> None:
    for name, block in options.metrics.items():
        keys = ('metrics', name)
        metric = check_block(metric_arguments(block), keys, problems, 'metrics')
        if metric is not None and not hasattr(metric, 'update'):
            problems.add(
                (*keys, 'type'), f"is '{block['type']}', a function of BasicSR's. `fsr list metrics` shows ours."
            )
    if options.quality is not None and options.quality not in options.metrics:
        hint = near(options.quality, options.metrics)
        problems.add(('quality',), f"is '{options.quality}': no metric is named so.{hint}")


def metric_arguments(block: Mapping[str, Any]) -> dict[str, Any]:
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


def _check_needs(
    entries: Mapping[str, SuiteEntry], train: TrainStore | None, budget: Budget | None, problems: Problems
) -> None:
    if any(entry.opt for entry in entries.values()):
        for key, block in (('train', train), ('budget', budget)):
            if block is None:
                problems.add((key,), 'is missing: the suite has entries that are trained, and they are to be alike.')


@dataclass(frozen=True)
class ExperimentComposer:
    """Composes the experiments of a suite."""

    options: SuiteOptions
    train: TrainStore | None
    curves: Curves | None
    test: Mapping[str, Any]
    document: Document
    file: Path
    root: Path

    def lineages(self, entries: Mapping[str, SuiteEntry]) -> dict[str, Lineage]:
        """Those of the entries that are experiments. Raises UserError with the lines of all."""
        found, lines = {}, dict[str, None]()
        for name, entry in entries.items():
            if entry.opt is None:
                continue
            try:
                found[name] = self._lineage(name, entry)
            except UserError as error:
                lines |= dict.fromkeys(f"entry '{name}': {line}" for line in str(error).splitlines())
        fail(lines)
        return found

    def _lineage(self, name: str, entry: SuiteEntry) -> Lineage:
        written = self._merged(('entries', name), entry.opt or '', entry.set)
        plain = apply_suite(written, name, self.options, self.train, None)
        file = Path(entry.opt or '')
        found = lineage_of(config.compose(plain, file, root=self.root, within=self.options.name), entry)
        if self.curves is None:
            return found
        # Whose validation is worth drawing is known only now: of the stages that train the network.
        monitored = apply_suite(
            written, name, self.options, self.train, (self.curves, self.test, found.monitored_stages())
        )
        return lineage_of(config.compose(monitored, file, root=self.root, within=self.options.name), entry)

    def oneshot(self, block: OneShot) -> Experiment:
        """The experiment of ``oneshot``, as its option file has it but for ``set`` and its place."""
        merged = self._merged(('oneshot',), block.opt, block.set)
        values = {**merged.values, 'name': 'oneshot'}
        return config.compose(
            Document(values, merged.places), Path(block.opt), root=self.root, within=self.options.name
        )

    def _merged(self, keys: tuple[str, ...], opt: str, changes: Mapping[str, Any]) -> Document:
        """An option file with the changes that stand under ``<keys>.set`` in the suite file."""
        above = (*keys, 'set')
        places = {key[len(above) :]: at for key, at in self.document.places.items() if key[: len(above)] == above}
        if not Path(opt).is_file():
            place = config.place_of(self.document.places, (*keys, 'opt'), self.file)
            raise UserError(f"{place}: key '{'.'.join((*keys, 'opt'))}' names no file: '{opt}' (from the folder where "
                            'the command is given).')  # fmt: skip
        return merge(read(Path(opt)), Document(dict(changes), {key: at for key, at in places.items() if key}))
