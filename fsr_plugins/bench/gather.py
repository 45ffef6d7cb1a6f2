"""Everything that is known of a suite, gathered as the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping

from fsr_plugins.bench import cost, summary
from fsr_plugins.bench.cache import device_name
from fsr_plugins.bench.candidate import Candidate
from fsr_plugins.bench.data import DatasetFingerprint, TestSet
from fsr_plugins.bench.evaluation import SuiteMetrics
from fsr_plugins.bench.options import BICUBIC, MATCHED, SuiteEntry
from fsr_plugins.bench.results import (
    EntryCost,
    EntryDescription,
    EntryTraining,
    EntryVariant,
    Json,
    Measured,
    PairedDifferences,
    PaperResults,
    Results,
)
from fsr_plugins.bench.suite import Suite
from fsr_plugins.bench.variants import changed_keys
from fsr_plugins.checkpoints import about
from fsr_plugins.config import finished
from fsr_plugins.engine.machine import machine, versions
from fsr_plugins.models.evaluation import HR
from fsr_plugins.weights import file_sha256


def gather(
    suite: Suite,
    tests: TestSet,
    metrics: SuiteMetrics,
    train: DatasetFingerprint | None,
    excused: Mapping[str, list[str]],
    measured: Mapping[str, Measured],
    spreads: Mapping[str, dict[str, float]],
    costs: Mapping[str, EntryCost],
    candidates: Mapping[str, Candidate],
    oneshot: Json | None,
) -> Results:
    """Everything that is known, as plain values.

    Args:
        excused: by entry, what differs from the suite and is admitted.
        measured: figures of every entry, and of HR; of an entry with several seeds their mean.
        costs: by entry; images that are there already have none.
        spreads: by entry, the standard deviation of its figures over its seeds.
        oneshot: what ``fsr oneshot`` found.
    """
    taken, options = list(metrics.blocks), suite.statistics
    found = summary.figures(measured, taken, options, tests.people)
    reference = suite.options.reference if suite.options.reference in suite.entries else None
    tested, ablations = _compared(suite, reference, measured, taken, tests)
    return {
        'name': suite.name,
        'title': suite.options.title or suite.name,
        'note': suite.options.note,
        'suite_sha256': suite.sha256,
        'machine': machine(),
        'versions': versions(),
        'device': device_name(tests.device),
        'scale': suite.options.scale,
        'degradation': suite.options.degradation,
        'lr_size': list(tests.lr_size),
        'train': None if train is None else {**train.as_dict(), 'store': suite.options.train},
        'test': {**tests.fingerprint.as_dict(), 'people': tests.people.as_dict(), 'store': suite.test,
                 'lr_sha256': tests.lr_sha256},
        'budget': None if suite.budget is None else {'unit': suite.budget.unit, 'most': suite.budget.most},
        'metrics': metrics.about,
        'statistics': {'seed': options.seed, 'resamples': options.resamples, 'confidence': options.confidence},
        'reference': reference,
        'quality': suite.options.quality or taken[0],
        'entries': {
            name: {
                **_describe(suite, name, candidates[name]),
                **_ablated(suite.entries[name]),
                'differs': excused.get(name, []),
                'figures': found[name],
                'more': {key: value for key, value in measured[name]['figures'].items() if key not in taken},
                'against_reference': tested.get(name),
                'against_of': ablations.get(name),
                'spread': spreads[name],
                'cost': costs.get(name),
            }
            for name in suite.entries
        },
        'HR': {'figures': found[HR]},
        'papers': _papers(suite), 'oneshot': oneshot,
    }  # fmt: skip


def _compared(
    suite: Suite, reference: str | None, measured: Mapping[str, Measured], taken: list[str], tests: TestSet
) -> tuple[PairedDifferences, PairedDifferences]:
    """Every entry against the reference and every ablation against what it is of, corrected together."""
    options, people = suite.statistics, tests.people
    tested = summary.against(reference, measured, taken, options, people) if reference else {}
    ablations = {
        name: summary.against(entry.of, {each: measured[each] for each in (entry.of, name)}, taken, options,
                              people).get(name, {})
        for name, entry in suite.entries.items()
        if entry.of in suite.entries
    }  # fmt: skip
    others = [(suite.entries[name].of or '', {name: found}) for name, found in ablations.items()]
    summary.correct([(reference or '', tested), *others])
    return tested, ablations


def _ablated(entry: SuiteEntry) -> EntryVariant:
    """How often an entry is trained, and what it is an ablation of."""
    return {'seeds': entry.seeds, 'of': entry.of, 'changes': list(changed_keys(entry.set)) if entry.of else []}


def _describe(suite: Suite, name: str, candidate: Candidate) -> EntryDescription:
    """What an entry is, and what its training took."""
    entry, file, images = suite.entries[name], candidate.checkpoint, candidate.images
    common: EntryDescription = {
        'title': suite.title(name), 'note': entry.note, 'unfair': entry.unfair, 'kind': BICUBIC,
        'arch': None, 'checkpoint': None, 'sha256': None, 'training': None,
    }  # fmt: skip
    if images is not None:
        return {**common, 'kind': 'images', 'sha256': images.checksum, 'images': images.root}
    if candidate.colours is not None:
        found = {'slope': candidate.colours.slope, 'offset': candidate.colours.offset}
        return {**common, 'kind': MATCHED, 'colours': found}
    if file is None:
        return common
    training: EntryTraining | None = None
    if name in suite.lineages:
        lineage = suite.lineages[name]
        training = {
            **cost.training(finished.records(lineage.experiment.stages), lineage.trained),
            'iterations': sum(lineage.spent('iterations').values()),
            'images': sum(lineage.spent('images').values()),
        }
    if entry.param_key is not None:
        common['param_key'] = entry.param_key
    return {
        **common,
        'kind': 'experiment' if entry.opt else 'checkpoint',
        'option_file': entry.opt,
        'arch': dict(about(file)['arch']),
        # As the suite says it, where it lies elsewhere: a bundled network by its name.
        'checkpoint': str(
            file.relative_to(suite.root) if file.is_relative_to(suite.root) else entry.checkpoint or file
        ),
        'sha256': file_sha256(file),
        'training': training,
    }


def _papers(suite: Suite) -> dict[str, PaperResults]:
    return {
        name: {
            'table': paper.table,
            'protocol': paper.protocol,
            'differs': paper.differs,
            'rows': {
                row: {'figures': content.figures, 'entry': content.entry}
                for row, content in suite.paper_rows[name].items()
            },
        }
        for name, paper in suite.papers.items()
    }
