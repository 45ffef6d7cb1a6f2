"""Ablations differ in nothing but what they say; of several seeds the mean is compared and the spread is shown."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_suite import write_suite

from fsr_plugins.bench import suite as suites
from fsr_plugins.bench.summary import correct
from fsr_plugins.bench.table import quality
from fsr_plugins.bench.variants import mean_over_seeds, spread_over_seeds
from fsr_plugins.cli import main
from fsr_plugins.errors import UserError
from fsr_plugins.measuring.statistics import holm

LINEAR = {
    'name': 'linear', 'scale': 2, 'degradation': {'type': 'BicubicDown', 'scale': 2}, 'model_type': 'LinearModel',
    'datasets': {'train': {'type': 'FaceDataset', 'dataroot_gt': 'elsewhere', 'batch_size_per_gpu': 2}},
    'network_g': {'type': 'LinearFace', 'size': 12, 'scale': 2, 'rank': 4}, 'train': {'total_iter': 3},
}  # fmt: skip
ENTRIES: dict[str, Any] = {
    'bicubic': {'type': 'bicubic'},
    'base': {'opt': 'one.yml', 'title': 'Base', 'stage': 'first', 'seeds': [3, 1]},
    'wide': {'of': 'base', 'set': {'network_g': {'num_feat': 6}}},
    'slow': {'of': 'wide', 'set': {'stages': {'first': {'train': {'optim': {'lr': 0.0005}}}}}},
    'ridge': {'opt': 'linear.yml'},
    'mean': {'of': 'ridge', 'set': {'network_g': {'rank': 0}}},
}


@pytest.fixture
def suite(folder: Path) -> Path:
    (folder / 'linear.yml').write_text(json.dumps(LINEAR))
    return write_suite(folder, entries=ENTRIES, papers={}, curves=None)


def test_an_ablation_differs_in_what_it_says_alone(suite: Path) -> None:
    lineages = suites.load(suite).lineages
    base, wide, slow = (lineages[name].experiment.stages['first'] for name in ('base', 'wide', 'slow'))
    expected = {**base.opt['network_g'], 'num_feat': 6}
    assert wide.opt['network_g'] == slow.opt['network_g'] == expected
    assert slow.train.optim == {'type': 'Adam', 'lr': 0.0005} and wide.train.optim == base.train.optim
    same = [key for key in base.opt if key not in ('name', 'network_g', 'path', 'root')]
    assert all(base.opt[key] == wide.opt[key] for key in same)


def test_seeds_are_those_of_the_entry_that_is_ablated(suite: Path) -> None:
    lineages = suites.load(suite).lineages
    seeds = {name: lineage.experiment.stages['first'].options.manual_seed
             for name, lineage in lineages.items() if lineage.stage == 'first'}  # fmt: skip
    assert seeds == {
        'base': 3, 'base+seed1': 1, 'wide': 3, 'wide+seed1': 1, 'slow': 3, 'slow+seed1': 1,
    }  # fmt: skip


def test_an_ablation_can_be_asked_for_alone(suite: Path) -> None:
    assert list(suites.load(suite, only=['slow']).lineages) == ['slow', 'slow+seed1']


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({'of': 'bas', 'set': {'a': 1}}, "key 'entries.x.of' is 'bas': no entry is named so. Did you mean 'base'?"),
        ({'of': 'x', 'set': {'a': 1}}, "key 'entries.x.of' leads from 'x' back to itself"),
        ({'of': 'bicubic', 'set': {'a': 1}}, "is 'bicubic', which is no experiment"),
        ({'of': 'base'}, "'of' needs 'set'"),
        ({'of': 'base', 'set': {'a': 1}, 'seeds': [5]}, "those of the entry that 'of' names"),
        ({'of': 'base', 'opt': 'one.yml', 'set': {'a': 1}}, 'an entry is one of'),
        ({'opt': 'one.yml', 'seeds': [1, 1]}, "'seeds' are [1, 1]: each once"),
        ({'type': 'bicubic', 'seeds': [1]}, "go with 'opt'"),
        ({'of': 'base', 'set': {'network_g': {'num_feet': 3}}}, 'suite.yml:'),
    ],
)
def test_what_is_wrong_is_said(folder: Path, entry: dict[str, Any], message: str) -> None:
    entries = {'bicubic': {'type': 'bicubic'}, 'base': {'opt': 'one.yml', 'stage': 'first'}, 'x': entry}
    with pytest.raises(UserError) as error:
        suites.load(write_suite(folder, entries=entries, papers={}))
    assert message in str(error.value)


def test_a_suite_with_ablations_seeds_and_baselines(suite: Path, folder: Path) -> None:
    assert main(['bench', '-opt', str(suite)]) == 0
    out = folder / 'experiments' / 'small_suite'
    results = json.loads((out / 'results.json').read_text())
    entries = results['entries']
    assert entries['base']['seeds'] == [3, 1] and list(entries['ridge']['spread']) == []
    summaries = [json.loads((out / name / 'summary.json').read_text()) for name in ('base', 'base+seed1')]
    assert all(summary for summary in summaries)
    # The mean and the spread of the two trainings, each measured by itself.
    single = []
    for name in ('base', 'base+seed1'):
        file = out / name / 'first' / 'models' / 'net_g_latest.pth'
        alone = {'one': {'checkpoint': str(file), 'unfair': 'to be looked at alone'}}
        other = write_suite(folder, name='alone', entries=alone, reference=None, papers={}, curves=None)
        assert main(['bench', '-opt', str(other)]) == 0
        found = json.loads((folder / 'experiments' / 'alone' / 'results.json').read_text())
        single.append(found['entries']['one']['figures']['psnr']['mean'])
    assert single[0] != single[1]
    assert entries['base']['figures']['psnr']['mean'] == pytest.approx(statistics.fmean(single), abs=1e-9)
    assert entries['base']['spread']['psnr'] == pytest.approx(statistics.stdev(single), abs=1e-9)
    difference = entries['wide']['against_of']['psnr']['difference']
    means = [entries[name]['figures']['psnr']['mean'] for name in ('wide', 'base')]
    assert difference == pytest.approx(means[0] - means[1], abs=1e-9) and entries['wide']['of'] == 'base'
    report = (out / 'report.md').read_text()
    page = (out / 'report.html').read_text()
    assert 'wide is Base with network_g.num_feat: 6; nothing else differs.' in report
    assert 'wide − Base' in report and 'wide − Base' in page and '>Ablations<' in page
    assert '2 seeds' in report and 'over seeds' in report
    assert 'once with each of the seeds 3, 1; cost, pictures and this checkpoint are of the first' in report
    # The mean face does not depend on LR, so it is far below what does; a network of three steps is, too.
    small = {row.name: row.small for row in quality(results).rows}
    assert small['ridge'] == small['mean'] == '' and small['Base'].startswith('not above bicubic')
    assert '2 seeds' in {row.name: row.marks for row in quality(results).rows}['Base']
    assert '<small>not above bicubic' in page and '<sub>not above bicubic' in report
    # An ablation of the reference is compared with it once, in two tables.
    again = write_suite(folder, entries=ENTRIES, papers={}, curves=None, reference='base')
    assert main(['bench', '-opt', str(again), '--evaluate-only']) == 0
    entries = json.loads((out / 'results.json').read_text())['entries']
    assert entries['wide']['against_of'] == entries['wide']['against_reference'] != {}
    raw = {
        name: entries[name]['against_reference']['psnr']['p'] for name in ('bicubic', 'wide', 'slow', 'ridge', 'mean')
    }
    raw |= {f'{name} of': entries[name]['against_of']['psnr']['p'] for name in ('slow', 'mean')}
    assert entries['wide']['against_of']['psnr']['p_holm'] == pytest.approx(holm(raw)['wide'])


def test_the_mean_over_seeds_is_value_by_value() -> None:
    def one(values: list[float | None], keys: list[list[str]]) -> Any:
        return {'figures': {'psnr': values[0], 'fid': None}, 'keys': ['a', 'b'], 'images': {'psnr': values},
                'pairs': {'verify': values}, 'pair_keys': {'verify': keys}}  # fmt: skip

    alike = mean_over_seeds([one([1.0, None], [['a'], ['b']]), one([3.0, 4.0], [['a'], ['b']])])
    assert alike['images'] == {'psnr': [2.0, None]} and alike['pairs'] == {'verify': [2.0, None]}
    assert alike['figures'] == {'psnr': 2.0, 'fid': None}
    others = mean_over_seeds([one([1.0, 2.0], [['a'], ['b']]), one([3.0, 4.0], [['b'], ['a']])])
    assert others['pairs'] == {}
    spread = spread_over_seeds([one([1.0, 2.0], []), one([3.0, 4.0], [])])
    assert spread == {'psnr': pytest.approx(np.std([1.0, 3.0], ddof=1))}


def test_all_p_values_of_a_metric_are_corrected_together() -> None:
    def group(**p: float) -> Any:
        return {name: {'psnr': {'p': value, 'p_holm': value}} for name, value in p.items()}

    first, second = group(a=0.01, b=0.04), group(a=0.03)
    correct([('base', first), ('other', second)])
    # Holm by hand: 3 × .01, 2 × .03, then .04 raised to the one before.
    found = [first['a']['psnr']['p_holm'], second['a']['psnr']['p_holm'], first['b']['psnr']['p_holm']]
    assert found == pytest.approx([0.03, 0.06, 0.06])
    # One comparison in two tables is one.
    once, turned = group(a=0.01, b=0.04), group(base=0.04)
    correct([('base', once), ('b', turned)])
    found = [each['psnr']['p_holm'] for each in (once['a'], once['b'], turned['base'])]
    assert found == pytest.approx([0.02, 0.04, 0.04])
