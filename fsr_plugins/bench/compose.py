"""The experiments of a suite: each option file with its entry's changes, and the suite applied to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsr_plugins import config
from fsr_plugins.bench.apply_suite import apply_suite
from fsr_plugins.bench.lineage import Lineage, lineage_of
from fsr_plugins.bench.options import Curves, OneShot, SuiteEntry, SuiteOptions, TrainStore
from fsr_plugins.config import Experiment
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

    def _merged(self, keys: tuple[str, ...], opt: str, changes: Block) -> Document:
        """An option file with the changes that stand under ``<keys>.set`` in the suite file."""
        above = (*keys, 'set')
        places = {key[len(above) :]: at for key, at in self.document.places.items() if key[: len(above)] == above}
        if not Path(opt).is_file():
            place = config.place_of(self.document.places, (*keys, 'opt'), self.file)
            raise UserError(f"{place}: key '{'.'.join((*keys, 'opt'))}' names no file: '{opt}' (from the folder where "
                            'the command is given).')  # fmt: skip
        return merge(read(Path(opt)), Document(dict(changes), {key: at for key, at in places.items() if key}))
