"""Entries that are trained more than once: ablations of another entry, and one entry with several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from fsr_plugins.bench.options import SuiteEntry
from fsr_plugins.bench.results import Measured
from fsr_plugins.config.options import Block
from fsr_plugins.config.problems import Problems
from fsr_plugins.registry import near


def chain(name: str, entries: Mapping[str, SuiteEntry]) -> list[str]:
    """The entry that an ablation comes from in the end, and all between, the ablation itself last."""
    found = [name]
    while (of := entries[found[0]].of) is not None:
        found.insert(0, of)
    return found


def with_ablations(entries: Mapping[str, SuiteEntry], problems: Problems) -> dict[str, SuiteEntry]:
    """The entries, ablations with the option file, stage, network and seeds of what they are of.

    What an ablation changes stays its own: see :func:`chain`.
    """
    found: dict[str, SuiteEntry] = {}
    for name, entry in entries.items():
        if entry.of is None:
            found[name] = entry
            continue
        seen, first = {name}, entry
        while first.of is not None:
            if first.of not in entries:
                problems.add(
                    ('entries', name, 'of'), f"is '{first.of}': no entry is named so.{near(first.of, entries)}"
                )
                break
            if first.of in seen:
                problems.add(('entries', name, 'of'), f"leads from '{name}' back to itself.")
                break
            seen.add(first.of)
            first = entries[first.of]
        else:
            if first.opt is None:
                problems.add(('entries', name, 'of'), f"is '{entry.of}', which is no experiment: only these have keys.")
                continue
            unfair = entry.unfair or first.unfair
            taken = {'opt': first.opt, 'stage': first.stage, 'net': first.net, 'seeds': first.seeds, 'unfair': unfair}
            found[name] = entry.model_copy(update=taken)
    return {name: found[name] for name in entries if name in found}


def runs(name: str, entry: SuiteEntry) -> dict[str, int | None]:
    """The trainings of an entry, and the seed of each: the first is called as the entry is."""
    if not entry.seeds:
        return {name: None}
    first, *others = entry.seeds
    return {name: first, **{f'{name}+seed{seed}': seed for seed in others}}


def changed_keys(block: Block, above: str = '') -> Iterator[str]:
    """What ``set`` of an ablation changes, a line each."""
    for key, value in block.items():
        if isinstance(value, dict) and value:
            yield from changed_keys(value, f'{above}{key}.')
        else:
            yield f'{above}{key}: {value}'


def mean_over_seeds(measured: Sequence[Measured]) -> Measured:
    """Of several trainings of an entry: the mean of every figure, and of every value of an image or pair."""
    first = measured[0]
    if len(measured) == 1:
        return first

    def means(columns: Sequence[Sequence[float | None]]) -> list[float | None]:
        return [_mean(values) for values in zip(*columns, strict=True)]

    return {
        **first,
        'figures': {name: _mean([each['figures'].get(name) for each in measured]) for name in first['figures']},
        'images': {name: means([each['images'][name] for each in measured]) for name in first['images']},
        'pairs': {
            name: means([each['pairs'][name] for each in measured])
            for name in first['pairs']
            # Which pairs are compared may depend on the images.
            if all(each['pair_keys'].get(name) == first['pair_keys'].get(name) for each in measured)
        },
    }


def spread_over_seeds(measured: Sequence[Measured]) -> dict[str, float]:
    """The standard deviation (n − 1) of every figure over an entry's trainings; of one training nothing."""
    if len(measured) < 2:
        return {}
    columns = {name: [each['figures'].get(name) for each in measured] for name in measured[0]['figures']}
    return {
        name: statistics.stdev(value for value in values if value is not None)
        for name, values in columns.items()
        if None not in values
    }


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if len(numbers) == len(values) else None
