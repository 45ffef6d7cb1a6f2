"""The experiments of a suite: each option file with its entry's changes, and the suite applied to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsr_plugins import config
from fsr_plugins.bench.apply_suite import apply_suite
from fsr_plugins.bench.lineage import Lineage, lineage_of
from fsr_plugins.bench.options import Curves, OneShot, SuiteEntry, SuiteOptions, TrainStore
from fsr_plugins.bench.variants import chain, runs
from fsr_plugins.config import Experiment
from fsr_plugins.config.bundled import located
from fsr_plugins.config.options import Block
from fsr_plugins.config.problems import fail
from fsr_plugins.config.yamlfile import Document, merge, read
from fsr_plugins.errors import UserError


@dataclass(frozen=True)
class ExperimentComposer:
    """Composes the experiments of a suite."""

    options: SuiteOptions
    train: TrainStore | None
    curves: Curves | None
    test: Block
    document: Document
    file: Path
    root: Path

    def lineages(self, chosen: Mapping[str, SuiteEntry], entries: Mapping[str, SuiteEntry]) -> dict[str, Lineage]:
        """Those of the chosen entries that are experiments, one a seed. Raises UserError with the lines of all.

        Args:
            entries: all of the suite: an ablation may be of one that is not chosen.
        """
        found, lines = {}, dict[str, None]()
        for name, entry in chosen.items():
            if entry.opt is None:
                continue
            try:
                written = self._written(name, entry, entries)
                for run, seed in runs(name, entry).items():
                    found[run] = self._lineage(run, entry, written, seed)
            except UserError as error:
                lines |= dict.fromkeys(f"entry '{name}': {line}" for line in str(error).splitlines())
        fail(lines)
        return found

    def _written(self, name: str, entry: SuiteEntry, entries: Mapping[str, SuiteEntry]) -> Document:
        """The option file with what the entry, and before it whatever it is an ablation of, changes."""
        first, *ablations = chain(name, entries)
        written = self._merged(('entries', first), entry.opt or '', entries[first].set)
        for ablation in ablations:
            written = merge(written, self._changes(('entries', ablation), entries[ablation].set))
        return written

    def _lineage(self, name: str, entry: SuiteEntry, written: Document, seed: int | None) -> Lineage:
        options = self.options if seed is None else self.options.model_copy(update={'manual_seed': seed})
        plain = apply_suite(written, name, options, self.train, None)
        file = located(entry.opt or '')
        found = lineage_of(config.compose(plain, file, root=self.root, within=self.options.name), entry)
        if self.curves is None:
            return found
        # Whose validation is worth drawing is known only now: of the stages that train the network.
        monitored = apply_suite(written, name, options, self.train, (self.curves, self.test, found.monitored_stages()))
        return lineage_of(config.compose(monitored, file, root=self.root, within=self.options.name), entry)

    def oneshot(self, block: OneShot) -> Experiment:
        """The experiment of ``oneshot``, as its option file has it but for ``set`` and its place."""
        merged = self._merged(('oneshot',), block.opt, block.set)
        values = {**merged.values, 'name': 'oneshot'}
        return config.compose(
            Document(values, merged.places), located(block.opt), root=self.root, within=self.options.name
        )

    def _merged(self, keys: tuple[str, ...], opt: str, changes: Block) -> Document:
        """An option file with the changes that stand under ``<keys>.set`` in the suite file."""
        if not located(opt).is_file():
            place = config.place_of(self.document.places, (*keys, 'opt'), self.file)
            raise UserError(f"{place}: key '{'.'.join((*keys, 'opt'))}' names no file: '{opt}' (from the folder where "
                            'the command is given).')  # fmt: skip
        return merge(read(located(opt)), self._changes(keys, changes))

    def _changes(self, keys: tuple[str, ...], changes: Block) -> Document:
        """What stands under ``<keys>.set`` in the suite file."""
        above = (*keys, 'set')
        places = {key[len(above) :]: at for key, at in self.document.places.items() if key[: len(above)] == above}
        return Document(dict(changes), {key: at for key, at in places.items() if key})
