"""Option files that nobody would write: each is refused in a short message, soon, and without reading for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from fsr_plugins import config
from fsr_plugins.config.yamlfile import parse, read
from fsr_plugins.errors import UserError

BOMB = 'a0: &a0 [x, x]\n' + ''.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 10))
MERGES = 'b0: &b0 {x: 1}\n' + ''.join(f'b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}, *b{n - 1}]}}\n' for n in range(1, 25))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (BOMB, 'f:5: not readable as YAML: with its aliases written out it has more than 20000 values'),
        (MERGES, 'with its aliases written out it has more than 20000 values'),
        ('a: [' + '0, ' * 100_000 + '0]', 'f:1: not readable as YAML: it has more than 20000 values'),
        ('a: ' + '[' * 800 + ']' * 800, 'f:1: not readable as YAML: it is nested deeper than 64 levels'),
        ('[' * 800, 'it is nested deeper than 64 levels'),
        ('a: ' + '{a: ' * 800 + '1' + '}' * 800, 'it is nested deeper than 64 levels'),
        ('a: b\0c', 'not readable as YAML'),
        ('a: "b\\0c"', "f:1: not readable as YAML: the text 'b\\x00c' holds"),
        ('a: "\\ud800"', "f:1: not readable as YAML: the text '\\ud800' holds"),
        ('"\\0": 1', 'holds'),
        (f'a: {10**22}', "f:1: not readable as YAML: '10000000000000000000000' is a number beyond 64 bits"),
        ('a: ' + '9' * 100_000, 'is a number beyond 64 bits'),
        ('a: 0x' + 'f' * 50, 'is a number beyond 64 bits'),
        ('a: .inf', "'.inf' is not a finite number"),
        ('a: -.Inf', "'-.Inf' is not a finite number"),
        ('a: .nan', "'.nan' is not a finite number"),
        ('a: 1e999', "'1e999' is not a finite number"),
        ('a: 1' + ':1' * 200 + '.5', 'is not a finite number'),
        ('a: !!timestamp 2024-01-01', "the tag '!!timestamp' is not read"),
        ('a: !!binary aGk=', "the tag '!!binary' is not read"),
        ('a: !!set {x, y}', "the tag '!!set' is not read"),
        ('a: !!omap [x: 1]', "the tag '!!omap' is not read"),
        ('? [a, b]\n: c', 'f:1: the key of several values is not a text to YAML'),
        ('? {a: b}\n: c', 'f:1: the key of several values is not a text to YAML'),
        ('x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y', "f:5: key '<<' occurs twice, first in line 4: merge"),
        ('x: &x {a: 1, a: 2}\nz: {<<: *x}', "f:1: key 'a' occurs twice"),
        ('a: &a {<<: *a}', 'f:1: not readable as YAML'),
    ],
)
def test_refused(text: str, words: str) -> None:
    started = time.perf_counter()
    with pytest.raises(UserError) as caught:
        parse(text, 'f')
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - started < 10


def test_what_people_write_is_read() -> None:
    document = parse('x: &x {a: 1, b: {c: 2}}\ny: {<<: *x, a: 3}\nz: {a: 4, <<: [*x]}\nt: 2024-01-01\nv: =', 'f')
    assert document.values['y'] == {'a': 3, 'b': {'c': 2}}
    assert document.values['z'] == {'a': 4, 'b': {'c': 2}}
    assert document.values['t'], document.values['v'] == ('2024-01-01', '=')
    # A mapping's own key, not the merged one, wherever ``<<`` stands.
    assert document.places['y', 'a'] == 'f:2'
    assert document.places['z', 'a'] == 'f:3'
    assert document.places['z', 'b', 'c'] == 'f:1'


@pytest.mark.parametrize('base', ['3', '{a: 1}', '[[x.yml]]', '/dev/zero', 'pipe', '"x.yml\\u0001"', '.'])
def test_what_is_no_base(tmp_path: Path, base: str) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'o.yml').write_text(f'a: 1\n_base_: {base}\n')
    with pytest.raises(UserError, match=r"o\.yml:2: key '_base_' names no file: "):
        read(tmp_path / 'o.yml')


@pytest.mark.parametrize(
    ('file', 'kind'), [('pipe', 'a pipe or a device'), ('/dev/zero', 'a pipe or a device'), ('.', 'a folder')]
)
def test_what_is_no_option_file(tmp_path: Path, file: str, kind: str) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(UserError, match=f'is {kind}: name a regular file'):
        read(tmp_path / file)


def test_a_long_file(tmp_path: Path) -> None:
    (tmp_path / 'o.yml').write_text('# nothing\n' * 200_000)
    with pytest.raises(UserError, match='has 2000000 bytes: no more than 1048576'):
        read(tmp_path / 'o.yml')


def test_a_diamond_of_bases_is_read_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / '0.yml').write_text('a: 0\n')
    for number in range(1, 21):
        bases = f'[{number - 1}.yml, {number - 1}.yml]'
        (tmp_path / f'{number}.yml').write_text(f'_base_: {bases}\nb{number}: {number}\n')
    opened: list[Path] = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, 'read_text', lambda file, **more: opened.append(file) or read_text(file, **more))
    document = read(tmp_path / '20.yml')
    assert document.values == {'a': 0, **{f'b{number}': number for number in range(1, 21)}}
    assert document.places['b7',] == f'{tmp_path / "7.yml"}:2'
    assert len(opened) == 21


def test_a_chain_without_end(tmp_path: Path) -> None:
    (tmp_path / '0.yml').write_text('a: 0\n')
    for number in range(1, 100):
        (tmp_path / f'{number}.yml').write_text(f'_base_: {number - 1}.yml\n')
    with pytest.raises(UserError, match='over more than 50 files'):
        read(tmp_path / '99.yml')


# ---- options -----------------------------------------------------------------------------------------------------


def load(tmp_path: Path, values: dict[str, Any], *overrides: str) -> config.Experiment:
    return config.load(tiny.write_options(tmp_path / 'o.yml', values), overrides, root=tmp_path)


def test_blocks_of_null_are_defaults(tmp_path: Path) -> None:
    stage = load(tmp_path, {**tiny.options(), 'logger': None, 'path': None}).stages['train']
    assert stage.opt['logger'] == {
        'print_freq': 100,
        'save_checkpoint_freq': 5000,
        'use_tb_logger': True,
        'keep_states': 3,
    }
    assert stage.opt['path'] == {}


@pytest.mark.parametrize(
    ('override', 'words'),
    [
        ('model_type=[]', "key 'model_type' is [], but must be text"),
        ('val.metrics.psnr.type=[]', "key 'val.metrics.psnr.type' must be a name"),
        ('network_g.type={a: 1}', "key 'network_g.type' must be a name"),
        ('datasets.train.type=[]', "key 'datasets.train.type' must be a name"),
        ('datasets=null', "key 'datasets.train' is missing"),
        ('manual_seed=10000000000000000000', 'is a number beyond 64 bits'),
        ('manual_seed=9000000000000000000', "key 'manual_seed' is 9000000000000000000, but must be at most"),
        ('train.optim_g.lr=.inf', "'.inf' is not a finite number"),
        ('datasets.val.name=../../../../escaped', "'datasets.val.name' is '../../../../escaped', but must be a name"),
        ('datasets.val.name=/tmp/x', "key 'datasets.val.name' is '/tmp/x', but must be a name"),
        ('datasets.val.name=""', "key 'datasets.val.name' is '', but must be a name"),
        (f'datasets.val.name={"x" * 300}', "key 'datasets.val.name' is 'xxx"),
        (f'name={"x" * 300}', "key 'name' is 'xxx"),
        ('datasets.val_2={name: held, type: FaceDataset, dataroot_gt: faces}',
         "key 'datasets.val_2.name' is 'held', as that of 'datasets.val'"),
    ],
)  # fmt: skip
def test_options_that_are_refused(tmp_path: Path, override: str, words: str) -> None:
    values = tiny.options()
    values['stages'] = {'one': {}, 'two': {'path': {'pretrain_network_g': 'stage:one/net_g'}}}
    with pytest.raises(UserError) as caught:
        load(tmp_path, values, override)
    assert words in str(caught.value)


@pytest.mark.parametrize('long', ['x' * 100_000, 'x ' * 50_000, ['x' * 50_000] * 2, {'type': 'x' * 100_000}])
@pytest.mark.parametrize('keys', [('name',), ('model_type',), ('network_g', 'num_feat'), ('datasets', 'val', 'name'),
                                  ('train', 'optim_g'), ('val', 'metrics', 'psnr'), ('path', 'pretrain_network_g'),
                                  ('datasets', 'train', 'dataroot_gt'), ('plugins',), ('stages',)])  # fmt: skip
def test_long_values_are_cut(tmp_path: Path, keys: tuple[str, ...], long: object) -> None:
    values = tiny.options()
    *way, last = keys
    block: Any = values
    for key in way:
        block = block.setdefault(key, {})
    block[last] = long
    (tmp_path / 'o.yml').write_text(yaml.safe_dump(values, width=10**6))
    try:
        config.load(tmp_path / 'o.yml', root=tmp_path)
    except UserError as error:
        assert max(map(len, str(error).split('\n'))) <= 2000
        assert len(str(error)) < 10_000
    else:
        # Whether there is such a file, and what an arch without annotations takes, is found by preflight.
        assert keys[-1] in ('pretrain_network_g', 'dataroot_gt', 'num_feat')


def test_long_names_are_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, {**tiny.options(), 'x' * 50_000: 1}, 'y' * 50_000 + '=1')
    assert len(str(caught.value)) < 2000


def test_what_does_not_fit_together_is_said_without_the_block(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, tiny.options(), 'datasets.train.gt_size=50')
    expected = "'datasets.train': 'gt_size' 50 is not a multiple of 'scale', which is 4."
    assert str(caught.value).endswith(f'o.yml:9 with --set datasets.train.gt_size=50: key {expected}')
    with pytest.raises(UserError, match=r"o\.yml:9 with --set scale=3: key 'datasets\.train': 'gt_size' 16 is not a "):
        load(tmp_path, tiny.options(), 'scale=3')


def test_a_way_to_a_key_without_end_is_refused(experiment_file: Path) -> None:
    with pytest.raises(UserError, match=r"write it as 'key\.of\.option=value'") as caught:
        config.load(experiment_file, ['.'.join('a' * 3000) + '=1'])
    assert len(str(caught.value)) < 500
