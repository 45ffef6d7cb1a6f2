"""Thousands of broken option files: each is read, and a share of them looked at by ``fsr doctor``.

Every case must end well or with a UserError: no traceback, no hang, no file outside its folder. A case is a mutation of
one of the project's own option files, or of a tiny one, and a function of seed and number::

    python tests/campaigns/options.py --seed 1 --number 2000 --seconds 1200
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:3]]

import common
import tiny
import yaml

from fsr_plugins import config, preflight
from fsr_plugins.config.yamlfile import read
from fsr_plugins.engine import generators
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.preflight import building

OPTIONS = Path(__file__).parents[2] / 'options'
#: Characters of a message's longest line.
LONGEST = 2500

NASTIES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 1.5, -0.5, 1e-300, 1e300, float('inf'), float('-inf'), float('nan'), 10**22,
    2**63, 2**64, 2**31, '', ' ', 'x', 'psnr', '0', 'null', '../../../../escaped', '/etc/passwd', '/dev/zero', '.', '~',
    'stage:train/net_g', 'stage:', 'stage:x/../../y', 'portraits://studio/train?number=0', 'http://example.invalid/x',
    'a\0b', '\ud800', 'ä' * 300, 'x' * 100_000, 'x ' * 50_000, '{{ a }}', '${a}', '%s', '\n', 'no.pth', 'faces',
    'AdamW', [], {}, [[]], [None], [1, 2, 3], ['x'], [{}], {'type': []}, {'type': None}, {'type': 'L1Loss'},
    {'type': 'x' * 5000},
    {'type': {'type': 'PSNR'}}, {'_delete_': 1}, {'_delete_': True}, {'_base_': 3}, {'keys': 1, 'items': 2}, {'': ''},
    {'a': {'b': {'c': {}}}}, [float('nan')], [10**22], 'SwinIR', 'OneCycleLR', 'ReduceLROnPlateau', 'LBFGS',
]  # fmt: skip

LINES = [
    '_base_: 3', '_base_: []', '_base_: {a: 1}', '_base_: case.yml', '_base_: [case.yml, 3]', '_base_: /dev/zero',
    'logger: null', 'path: null', 'datasets: null', 'stages: null', 'stages: {}', 'stages: {a: null, b: {}}',
    'val: null',
    '<<: 3', '<<: [1, 2]', 'a: &a [*a]', 'a: !!python/name:os.system x', 'a: !!binary aGk=', 
    'a: !!timestamp 2024-01-01',
    'a: !!set {x, y}', 'a: !!omap [x: 1]', 'a: !unknown x', '? [a, b]\n: c', '? {a: b}\n: c', '=: 3', 'a: =',
    '---\nb: 1',
    '%YAML 9.9', '\t', '@', 'manual_seed: 0x' + 'f' * 40, 'manual_seed: 1:30:00', 'num_gpu: 0o7', 'scale: 1_0',
    '"\\0": 1',
    'name: "\\ud800"', 'plugins: [os]', 'plugins: [no.such]', 'plugins: [""]', 'plugins: [..x]', 'compile: 3',
    'oneshot: []', 'oneshot: {stages: 3}', 'precision: fp8', 'dist_params: 3', 'a' * 100_000 + ': 1', '[' * 800,
    'a: ' + '[' * 800 + ']' * 800, 'a: ' + '{a: ' * 300 + '1' + '}' * 300, 'a: [' + '0, ' * 100_000 + '0]',
    'a0: &a0 [x, x]\n' + '\n'.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]' for n in range(1, 10)),
    'b0: &b0 {x: 1}\n' + '\n'.join(f'b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}, *b{n - 1}]}}' for n in range(1, 25)),
]  # fmt: skip


def run(
    seed: int, number: int, seconds: float, only: int | None = None, show: bool = False, doctor: float = 0.15
) -> Counter[str]:
    """Runs cases: see ``common.run_cases``.

    Args:
        doctor: the share of tiny cases that preflight looks at.
    Returns:
        How often what happened: ``ok``, ``refused``, ``doctor ok``, ``doctor refused``; and what is against the rules.
    """
    logging.disable(logging.CRITICAL)
    try:
        # A network may be as large as the machine allows, and then takes its time.
        with patch.object(building, 'available_memory', lambda: 2**28):
            return common.run_cases([('', partial(_case, doctor))], seed, number, seconds, only, show)
    finally:
        logging.disable(logging.NOTSET)


def _case(doctor: float, draw: random.Random, folder: Path) -> str:
    is_tiny = draw.random() < 0.6
    text = _text(draw, _tiny(draw) if is_tiny else read(draw.choice(_files())).values)
    file = folder / 'case.yml'
    file.write_text(text, encoding='utf-8', errors='surrogatepass')
    overrides = []
    if draw.random() < 0.25:
        key = '.'.join(map(str, draw.choice(list(_places(_tiny(draw))))))
        overrides = [f'{key}={draw.choice(["null", "[]", "{}", "3", "x", ".inf", "1" * 30, "{type: []}", "["])}']
    looked_at = is_tiny and draw.random() < doctor
    kind = 'doctor ' if looked_at else ''
    try:
        with (
            patch.dict(os.environ, XDG_CACHE_HOME=str(folder / 'cache')),
            common.limited(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            experiment = config.load(file, overrides)
            if looked_at:
                tiny.write_faces(folder / 'faces', 3)
                before = generators.random_state()['python']
                preflight.check(experiment, dry_steps=True)
                assert generators.random_state()['python'] == before
        return f'{kind}ok'
    except (UserError, RunError) as error:
        if max(map(len, str(error).split('\n'))) > LONGEST:
            raise common.Broken(f'long message, {str(error)[:200]}') from error
        return f'{kind}refused'


def _files() -> list[Path]:
    return [path for path in sorted(OPTIONS.rglob('*.yml')) if not {'_base_', 'bench'} & set(path.parts)]


def _tiny(draw: random.Random) -> dict[str, Any]:
    values = tiny.options('faces')
    if draw.random() < 0.3:
        values['stages'] = {'one': {}, 'two': {'path': {'pretrain_network_g': 'stage:one/net_g'}}}
    if draw.random() < 0.5:
        values['train']['scheduler'] = draw.choice(
            [
                {'type': 'MultiStepLR', 'milestones': [2, 3], 'gamma': 0.5},
                {'type': 'CosineAnnealingRestartLR', 'periods': [2, 2], 'restart_weights': [1, 1]},
                {'type': 'StepLR', 'step_size': 2},
                {'type': 'OneCycleLR', 'max_lr': 0.1, 'total_steps': 4},
                {'type': 'CosineAnnealingLR', 'T_max': 4},
            ]
        )
    if draw.random() < 0.3:
        values['val']['metrics']['ssim'] = {'type': 'SSIM', 'crop_border': 1}
    return values


def _places(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if keys:
        yield keys
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, (*keys, key))


def _text(draw: random.Random, values: dict[str, Any]) -> str:
    values = copy.deepcopy(values)
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        places = list(_places(values))
        if places:
            *way, last = draw.choice(places)
            parent: Any = values
            for key in way:
                parent = parent[key]
            draw.choice(_CHANGES)(draw, values, parent, last)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return draw.choice(_SPOILT)(draw, text) if draw.random() < 0.3 else text


def _replace(draw: random.Random, values: Any, parent: Any, key: Any) -> None:
    parent[key] = copy.deepcopy(draw.choice(NASTIES))


def _rename(draw: random.Random, values: Any, parent: Any, key: Any) -> None:
    new = draw.choice(
        ['type', 'name', '_delete_', 'stages', 'x' * 3000, 'val_x/../../y', f'{key}s', str(key)[::-1], '']
    )
    value = parent.pop(key)
    if isinstance(parent, dict) and draw.random() < 0.7:  # otherwise it is gone
        parent[new] = value


def _nest(draw: random.Random, values: Any, parent: Any, key: Any) -> None:
    parent[key] = draw.choice([[parent[key]], {key: parent[key]}, {'type': parent[key]}, [[parent[key], parent[key]]]])


def _retype(draw: random.Random, values: Any, parent: Any, key: Any) -> None:
    value = parent[key]
    parent[key] = draw.choice(
        [str(value)[:200], [value], list(value) if isinstance(value, dict) else 1.0, {'x': value}]
    )


def _scale_up(draw: random.Random, values: Any, parent: Any, key: Any) -> None:
    if isinstance(parent[key], int | float):
        parent[key] = draw.choice([-1, 0, 10, 1000, 1e10, 1e30, 0.3]) * parent[key]


def _copy_from_elsewhere(draw: random.Random, values: Any, parent: Any, key: Any) -> None:
    other: Any = values
    for step in draw.choice(list(_places(values))):
        other = other[step]
    parent[key] = copy.deepcopy(other)


_CHANGES: list[Callable[[random.Random, Any, Any, Any], None]] = [
    _replace, _replace, _replace, _rename, _nest, _retype, _scale_up, _copy_from_elsewhere,
]  # fmt: skip


def _add_line(draw: random.Random, text: str) -> str:
    line = draw.choice(LINES)
    return f'{line}\n{text}' if draw.random() < 0.5 else f'{text}\n{line}\n'


def _swap_bytes(draw: random.Random, text: str) -> str:
    characters = list(text)
    for _ in range(draw.randint(1, 5)):
        characters[draw.randrange(len(characters))] = draw.choice(':{}[]&*!|>\'"%@`#-?,\t\n\0 \x85\ufeffa0')
    return ''.join(characters)


def _cut(draw: random.Random, text: str) -> str:
    return text[: draw.randrange(len(text))]


def _move_lines(draw: random.Random, text: str) -> str:
    lines = text.split('\n')
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(lines))
        line = lines[at]
        lines[at] = draw.choice([line + line, f' {line}', line.lstrip(), line.replace(':', '', 1), f'{line}\n{line}'])
    return '\n'.join(lines)


_SPOILT: list[Callable[[random.Random, str], str]] = [_add_line, _add_line, _swap_bytes, _cut, _move_lines]


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--doctor', type=float, default=0.15, help='share of the tiny cases that doctor looks at')
    sys.exit(common.main(run, __doc__ or '', number=2000, seconds=1200, parser=parser))
