"""Whether the entries of a suite can be compared: looked at before training, refused with what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsr_plugins.bench.apply_suite import CHOICE
from fsr_plugins.bench.data import DatasetFingerprint, fingerprint
from fsr_plugins.bench.lineage import Lineage
from fsr_plugins.bench.results import Json
from fsr_plugins.bench.suite import Suite
from fsr_plugins.checkpoints import about
from fsr_plugins.config import Stage
from fsr_plugins.config.options import Block
from fsr_plugins.config.settings import SetOptions, StageSettings, read_settings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.errors import UserError
from fsr_plugins.preflight.recognisers import known_recognisers
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.opening import open_store


@dataclass(frozen=True)
class Difference:
    """In what an entry differs from its suite; what can be ``excused`` may stand if the entry says why."""

    entry: str
    what: str
    excused: bool = False


def training_fingerprint(suite: Suite) -> DatasetFingerprint | None:
    """Which images the entries are trained with; None for a suite without ``train``."""
    if suite.train is None:
        return None
    return fingerprint(_plain_set(suite.train.model_dump(exclude_none=True), read_settings(suite.run_options())))


def _plain_set(block: Block, options: StageSettings) -> ImageDataset:
    """The faces of a training set and nothing beside: what else a set does may need what is not trained yet."""
    dataset: ImageDataset = make_dataset(
        SetOptions('train', {'type': 'FaceDataset', 'name': 'train', **block}), 'val', options
    )
    return dataset


def check(suite: Suite, train: DatasetFingerprint | None, test: DatasetFingerprint) -> dict[str, list[str]]:
    """Compares every entry with the suite, and the training set with the test set.

    Returns:
        by entry, what differs and is excused by its ``unfair``.
    Raises:
        UserError: all that differs and is not, entry by entry.
    """
    found: list[Difference] = []
    if train is not None and set(train.checksums) & set(test.checksums):
        found.append(Difference('(all)', f"'train' and 'test' read the same store: {train} and {test}"))
    for name, entry in suite.entries.items():
        if entry.opt is not None:
            found += _experiment(suite, name, suite.lineages[name], train, test)
        elif entry.checkpoint is not None:
            found += _checkpoint(suite, name, entry.checkpoint, train, test)
        elif entry.lq is not None:
            if {store_checksum(part) for part in open_store(entry.lq).parts} & set(test.checksums):
                found.append(Difference(name, f"its 'lq' is of the test set: {entry.lq}"))
        elif entry.images is not None:
            unknown = f"the images '{entry.images}' do not say what made them, from which LR, nor what it learned from"
            found.append(Difference(name, unknown, excused=True))
    excused: dict[str, list[str]] = {}
    refused = []
    for difference in found:
        known = suite.entries.get(difference.entry)
        if difference.excused and known is not None and known.unfair:
            excused.setdefault(difference.entry, []).append(difference.what)
        else:
            can = " Or say why it is admitted by 'unfair: <reason>'." if difference.excused else ''
            refused.append(f"- entry '{difference.entry}': {difference.what}.{can}")
    if refused:
        raise UserError(
            f"The entries of the suite '{suite.name}' cannot be compared; nothing was trained. What differs:\n"
            + '\n'.join(refused)
        )
    return excused


def _experiment(
    suite: Suite, name: str, entry: Lineage, train: DatasetFingerprint | None, test: DatasetFingerprint
) -> Iterator[Difference]:
    stage = entry.experiment.stages[entry.stage]
    if stage.options.scale != suite.options.scale:
        yield Difference(name, f"stage '{stage.name}' has scale {stage.options.scale}, the suite {suite.options.scale}")
    if stage.is_hosted:
        yield Difference(name, f"stage '{stage.name}' is trained by a hosted model, which makes its LR by itself", True)
    elif stage.options.degradation != suite.options.degradation:
        own = stage.options.degradation
        made = 'has no degradation' if own is None else f'makes LR by {own}'
        yield Difference(name, f"stage '{stage.name}' {made}, the suite makes LR by {suite.options.degradation}")
    if suite.budget is not None:
        unit, most, spent = suite.budget.unit, suite.budget.most, entry.spent(suite.budget.unit)
        if sum(spent.values()) > most:
            each = ' + '.join(f'{stage} {amount:,}' for stage, amount in spent.items())
            seen = f'its network sees {sum(spent.values()):,} {unit} ({each}), the budget is {most:,}'
            yield Difference(name, seen, excused=True)
    for other in entry.experiment.stages.values():
        for network in other.networks.values():
            path = network.weights
            if path and not Path(path).is_relative_to(entry.experiment.folder):
                brought = f"'path.{network.weights_key}' of stage '{other.name}' brings weights along: {path}"
                yield Difference(name, brought, excused=True)
        yield from _data(name, other, entry, train, test)
    for metric, known in known_recognisers(entry.experiment, stage, suite.options.metrics):
        yield Difference(name, f"by the suite's 'metrics.{metric}', {known.removesuffix('.')}")


def _data(
    name: str, stage: Stage, entry: Lineage, train: DatasetFingerprint | None, test: DatasetFingerprint
) -> Iterator[Difference]:
    """What a stage learns from, teachers' stages too: the suite's training set, and what its own stages make of it."""
    block, folder = stage.data.block, entry.experiment.folder
    outside = [root for key in block if key.startswith('dataroot_') for root in _roots(block[key], folder)]
    known = () if train is None else train.checksums
    read = {root: {store_checksum(part) for part in open_store(root).parts} for root in outside}
    # Where all entries learn from it, one message says so.
    tested = [root for root, checksums in read.items() if checksums & set(test.checksums) - set(known)]
    if tested:
        yield Difference(name, f"stage '{stage.name}' learns from the test set: {', '.join(tested)}")
    other = [root for root, checksums in read.items() if not checksums <= set(known) and root not in tested]
    if other:
        yield Difference(name, f"stage '{stage.name}' learns from {', '.join(other)}, not from the suite's", True)
    roots = block.get('dataroot_gt')
    # What is another store, or made by a stage, has other keys by itself.
    if train is None or not roots or _roots(roots, folder) != _roots(roots, None) or {*_roots(roots, None)} & {*other}:
        return
    chosen = fingerprint(
        _plain_set({key: block[key] for key in ('dataroot_gt', *CHOICE) if key in block}, stage.options)
    )
    if chosen.keys != train.keys:
        yield Difference(name, f"stage '{stage.name}' learns from {chosen}, the suite's is {train}", True)


def _roots(value: object, made_in: Path | None) -> list[str]:
    """The stores of a ``dataroot_…``, without those that lie in a folder."""
    roots = value if isinstance(value, list) else [value]
    return [root for root in roots if isinstance(root, str) and not (made_in and Path(root).is_relative_to(made_in))]


def _checkpoint(
    suite: Suite, name: str, file: str, train: DatasetFingerprint | None, test: DatasetFingerprint
) -> Iterator[Difference]:
    meta = about(file)
    if meta.get('scale') != suite.options.scale:
        yield Difference(name, f'{file} has scale {meta.get("scale")}, the suite {suite.options.scale}')
    own = meta.get('degradation')
    if own != suite.options.degradation:
        says = 'does not say what made its LR' if own is None else f'was trained for LR by {own}'
        yield Difference(name, f'{file} {says}, the suite makes it by {suite.options.degradation}', excused=True)
    yield from _seen(name, file, dict(meta), train, test)
    if suite.budget is not None:
        iterations = meta.get('iteration')
        if suite.budget.iterations is None:
            yield Difference(name, f'{file} does not say how many images it has seen, {iterations} iterations', True)
        elif not isinstance(iterations, int) or iterations > suite.budget.iterations:
            yield Difference(name, f'{file} has {iterations} iterations, the budget is {suite.budget.most:,}', True)


def _seen(
    name: str, file: str, meta: Json, train: DatasetFingerprint | None, test: DatasetFingerprint
) -> Iterator[Difference]:
    stores = (meta.get('manifests') or {}).get('train')
    checksums = [found if isinstance(found := store.get('checksum'), str) else None for store in stores or ()]
    if set(checksums) & set(test.checksums):
        yield Difference(name, f'{file} was trained on the test set (checksum {test.checksums[0][:12]})')
    elif not checksums or None in checksums:
        yield Difference(name, f'{file} does not say by checksum what it was trained on', True)
    elif train is None or tuple(checksums) != train.checksums:
        shown = ' + '.join(str(checksum)[:12] for checksum in checksums)
        wanted = 'the suite trains nothing' if train is None else f"the suite's is {train}"
        yield Difference(name, f'{file} was trained on {shown}, {wanted}', True)
