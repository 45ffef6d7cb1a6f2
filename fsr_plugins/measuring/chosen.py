"""Which metrics are meant by the words of a command line."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from fsr_plugins.archs.recognition import Recogniser, make_recogniser
from fsr_plugins.checkpoints import load_state, meta_in
from fsr_plugins.errors import UserError
from fsr_plugins.metrics import Metric
from fsr_plugins.metrics.base import no_metric
from fsr_plugins.registry import ARCH_REGISTRY, METRIC_REGISTRY, build, lookup, near
from fsr_plugins.stores import Store
from fsr_plugins.values import Block
from fsr_plugins.wording import summary_of


class MetricLine(NamedTuple):
    """A metric in a list: how it is called, whether it needs HR and options, which way is better, what it is."""

    name: str
    needs: str
    better: str
    summary: str


def shown_metrics() -> list[MetricLine]:
    """All registered metrics, by name."""
    lines = []
    for name, cls in _metrics().items():
        required = [
            parameter.name
            for parameter in inspect.signature(cls).parameters.values()
            if parameter.default is parameter.empty
        ]
        # Where it depends on an option, it is the default that compares with HR.
        needs = ['HR'] if getattr(cls, 'needs_gt', True) else []
        lines.append(MetricLine(name, ', '.join(needs + required) or 'nothing', cls.better, summary_of(cls)))
    return sorted(lines)


def _metrics() -> dict[str, type[Metric]]:
    """Classes of metrics; BasicSR's are functions of two images."""
    return {
        name: cls
        for name, cls in METRIC_REGISTRY
        if isinstance(cls, type) and issubclass(cls, Metric) and not inspect.isabstract(cls)
    }


def chosen_metrics(words: Sequence[str], options: Mapping[str, object]) -> dict[str, Metric]:
    """The metrics of a command line by the names of their figures.

    Args:
        words: a registered name in any case, with or without lines between its words (``psnr``, ``feature_distance``);
            or a block as in an option file, ``{type: PSNR, crop_border: 4}``.
        options: arguments of those that take them, where a block does not say otherwise.

    Raises:
        UserError: no such metric, a faulty block, an option that none takes, or as the metric raises.
    """
    found: dict[str, Metric] = {}
    unused = set(options)
    for word in words:
        block = _block(word)
        takes = inspect.signature(lookup('metrics', block['type'])).parameters
        unused -= takes.keys()
        block = {**{key: value for key, value in options.items() if key in takes}, **block}
        metric = build('metrics', block)
        name = _plain(str(block['type'])) if word.lstrip().startswith('{') else word.lower()
        copies = sum(each == name or each.startswith(f'{name}_') and each[len(name) + 1 :].isdigit() for each in found)
        found[f'{name}_{copies + 1}' if copies else name] = metric
    if unused:
        raise UserError(
            f'None of {", ".join(found)} takes {min(unused)}: leave it out, or name a metric that takes it.'
        )
    return found


def _plain(name: str) -> str:
    return name.replace('_', '').replace('-', '').lower()


def _block(word: str) -> Block:
    if not word.lstrip().startswith('{'):
        names = {_plain(name): name for name in _metrics()}
        if _plain(word) not in names:
            raise UserError(f"There is no metric '{word}'.{near(word, names)} `fsr measure --list` shows all.")
        return {'type': names[_plain(word)]}
    try:
        block = yaml.safe_load(word)
    except yaml.YAMLError as error:
        raise UserError(f"The metric '{word}' is no block such as '{{type: PSNR, crop_border: 4}}'.") from error
    if not isinstance(block, dict) or not isinstance(block.get('type'), str):
        raise UserError(f"The metric '{word}' names no type, as '{{type: PSNR, crop_border: 4}}' does.")
    cls = lookup('metrics', block['type'])
    if not hasattr(cls, 'update'):
        raise UserError(f"The metric '{block['type']}' is {no_metric(cls)}")
    return block


def identity_metrics(
    block: Block, references: Store, keys: Sequence[str], pairs: Path | None = None
) -> dict[str, Metric]:
    """Measures of identity by one recogniser: likeness, and verification as far as people or pairs are known.

    Faces are aligned where the references have landmarks. Verification over all pairs comes with it where several
    people are known, and somebody has two images.

    Args:
        block: of the recogniser.
        references: the HR.
        keys: of those that are measured.
        pairs: a list for :func:`fsr_plugins.metrics.pairs.read_pairs`, or None.

    Raises:
        UserError: as the metrics.
    """
    align = 'none' if references.landmarks is None else 'landmarks'
    common = {'recogniser': block, 'align': align}
    found = {'identity': build('metrics', {'type': 'IdentitySimilarity', **common})}
    if pairs is not None:
        found['verification'] = build('metrics', {'type': 'Verification', 'pairs': str(pairs), **common})
    if _has_pairs(references, keys):
        found['all_pairs'] = build('metrics', {'type': 'AllPairs', **common})
    return found


def _has_pairs(references: Store, keys: Sequence[str]) -> bool:
    """Whether there are pairs of one person, and of two."""
    if references.identities is None:
        return False
    measured = set(keys)
    people = [person for key, person in zip(references.keys, references.identities, strict=True) if key in measured]
    return 1 < len(set(people)) < len(people)


def recogniser_block(given: str) -> Block:
    """The block of a recogniser that is given by its weights, or by its name where they can be fetched.

    A checkpoint of this toolkit says what it is. Of another file every recogniser is tried.

    Raises:
        UserError: neither a file nor a recogniser; a file of none.
    """
    recognisers = [name for name, cls in ARCH_REGISTRY if isinstance(cls, type) and issubclass(cls, Recogniser)]
    if not os.path.exists(os.path.expanduser(given)):
        if given in recognisers:
            return {'type': given}
        raise UserError(
            f"--identity '{given}' is neither a file nor a recogniser: give weights, or one of "
            f'{", ".join(sorted(recognisers))}.'
        )
    path = os.path.expanduser(given)
    meta = meta_in(load_state(path), f"'{path}'")
    if meta is not None:
        return {'type': meta['arch']['type'], 'path': path}
    for name in sorted(recognisers):
        try:
            make_recogniser({'type': name, 'path': path})
        except UserError:
            continue
        return {'type': name, 'path': path}
    raise UserError(f"--identity '{given}' holds the weights of none of {', '.join(sorted(recognisers))}.")
