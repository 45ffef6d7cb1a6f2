"""Suite files: what is wrong is named with its place, and how a suite is applied to an option file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from option_files import OPTIONS
from tiny_suite import write_suite

from fsr_plugins import config
from fsr_plugins.bench import gather, words
from fsr_plugins.bench import suite as suites
from fsr_plugins.bench.candidate import Candidate
from fsr_plugins.bench.results import Results
from fsr_plugins.checkpoints import resolved
from fsr_plugins.errors import UserError


def loaded(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        suites.load(write_suite(folder, **changes))
    return str(error.value)


def alone(entry: dict[str, Any]) -> dict[str, Any]:
    """A suite of one entry."""
    return {'entries': {'x': entry}, 'reference': None, 'papers': {}}


def test_unknown_keys_are_named_with_their_place(folder: Path) -> None:
    text = loaded(folder, bugdet={'iterations': 3})
    assert 'suite.yml:' in text and "key 'bugdet' is not known to a suite. Did you mean 'budget'?" in text
    text = loaded(folder, entries={'a': {'opt': 'one.yml', 'stagge': 'x'}, 'b': {}}, reference=None, papers={})
    assert "key 'entries.a.stagge' is not known to 'entries.a'. Did you mean 'stage'?" in text
    assert "key 'entries.b': an entry is one of {type: bicubic}" in text
    text = loaded(folder, metrics={'psnr': {'type': 'PSNRR'}})
    assert "key 'metrics.psnr.type' is 'PSNRR'" in text and 'PSNR' in text
    text = loaded(folder, metrics={'psnr': {'type': 'calculate_psnr'}})
    assert "key 'metrics.psnr.type' is 'calculate_psnr', a function of BasicSR's" in text and 'is missing' not in text
    text = loaded(folder, test={'dataroot_gt': 'test.lmdb', 'vews': []})
    assert "key 'test.vews' is not known to FaceDataset. Did you mean 'views'?" in text


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'reference': 'tow'}, "key 'reference' is 'tow': no entry is named so. Did you mean 'two'?"),
        ({'budget': {}}, "either in 'iterations' or in 'images'"),
        ({'budget': None}, "key 'budget' is missing: the suite has entries that are trained"),
        ({'entries': {'cache': {'type': 'bicubic'}}}, "without the name 'cache'"),
        (alone({'opt': 'nowhere.yml'}), "names no file: 'nowhere.yml'"),
        (
            {'entries': {'x': {'opt': 'one.yml', 'stage': 'frist'}}, 'reference': None, 'papers': {}},
            "Did you mean 'first'?",
        ),
        (alone({'opt': 'one.yml', 'net': 'net_h'}), "makes no 'net_h'"),
        (
            {'entries': {'x': {'opt': 'one.yml', 'set': {'scael': 2}}}, 'reference': None, 'papers': {}},
            "key 'scael' is not known",
        ),
        (alone({'opt': 'one.yml'}) | {'cost': {'batches': [1, 0]}}, "key 'cost.batches.1' is 0"),
        (alone({'opt': 'one.yml'}) | {'curves': {'val_freq': 1, 'metrics': {}}}, "key 'curves.metrics' is {}"),
        ({'entries': {'HR': {'type': 'bicubic'}}, 'reference': None, 'papers': {}}, "'entries.HR' has the name of the"),
        (alone({'opt': 'one.yml', 'title': 'LR'}), "is called 'LR' in the report, as a row of its pictures is"),
        (alone({'opt': 'one.yml', 'title': 'bicubic'}), "is called 'bicubic' in the report, as a row"),
        (
            alone({}) | {'entries': {'x': {'type': 'bicubic', 'title': 'y'}, 'y': {'opt': 'one.yml'}}},
            "key 'entries.y' is called 'y' in the report, as 'x' is",
        ),
        (
            alone({}) | {'entries': {'x': {'opt': 'one.yml', 'seeds': [0, 1]}, 'x+seed1': {'opt': 'one.yml'}}},
            "key 'entries.x+seed1' would be trained as 'x+seed1', and so would 'x'",
        ),
    ],
)
def test_what_is_wrong_is_said(folder: Path, changes: dict[str, Any], message: str) -> None:
    assert message in loaded(folder, **changes)


def test_what_is_set_in_an_entry_has_its_place_in_the_suite(folder: Path) -> None:
    text = loaded(
        folder, entries={'x': {'opt': 'one.yml', 'set': {'train': {'total_itr': 2}}}}, reference=None, papers={}
    )
    line = next(number for number, line in enumerate((folder / 'suite.yml').read_text().splitlines(), 1)
                if 'total_itr' in line)  # fmt: skip
    assert f'suite.yml:{line}: key ' in text and "Did you mean 'total_iter'?" in text


def test_overrides_reach_entries(folder: Path) -> None:
    suite = suites.load(folder / 'suite.yml', ['entries.two.set.train.total_iter=3', 'budget.iterations=9'])
    assert suite.lineages['two'].spent('iterations') == {'first': 2, 'second': 3}
    assert suite.budget is not None and suite.budget.most == 9
    with pytest.raises(UserError, match="--entries tow: no entry is named so .*Did you mean 'two'"):
        suites.load(folder / 'suite.yml', only=['tow'])


@pytest.mark.parametrize(
    ('given', 'error'),
    [
        ('{checkpoint: face_x8, unfair: hm}', None),
        ('{of: one, set: {network_g: {num_feat: 8}}}', None),
        ('{of: pp, set: {scale: 2}}', "is 'pp': no entry is named so"),
    ],
)
def test_an_entry_is_added_as_a_block(folder: Path, given: str, error: str | None) -> None:
    file = write_suite(folder)
    if error is None:
        assert 'q' in suites.load(file, [f'entries.q={given}']).entries
        return
    with pytest.raises(UserError) as caught:
        suites.load(file, [f'entries.q={given}'])
    assert error in str(caught.value) and '_delete_' not in str(caught.value)


def test_the_suite_is_laid_over_every_stage(folder: Path) -> None:
    suite = suites.load(folder / 'suite.yml')
    entry = suite.lineages['two']
    for stage in entry.experiment.stages.values():
        train = stage.opt['datasets']['train']
        assert train['dataroot_gt'] == 'train.lmdb' and 'max_images' not in train
        assert set(stage.opt['datasets']) == {'train', 'val_bench'}
        assert stage.opt['datasets']['val_bench']['max_images'] == 3
        assert stage.opt['val']['metrics'] == {'psnr': {'type': 'PSNR'}} and stage.opt['scale'] == 2
    assert entry.experiment.folder == Path.cwd() / 'experiments/small_suite/two'


FILES = sorted(path for path in (OPTIONS / 'bench').rglob('*.yml') if '_base_' not in path.parts)


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_the_projects_suites_are_accepted_and_keep_their_budgets(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(OPTIONS.parent)
    suite = suites.load(file)
    name = f'claim_{file.stem}' if file.parent.name == 'claims' else file.stem
    assert suite.name == name and suite.budget is not None
    for entry in suite.lineages.values():
        assert sum(entry.spent(suite.budget.unit).values()) <= suite.budget.most
        final = entry.experiment.stages[entry.stage].opt
        assert (final['scale'], final['degradation']) == (suite.options.scale, suite.options.degradation)


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_the_projects_suites_lower_rates_towards_the_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite that gives an option file another length has to give its schedule too."""
    monkeypatch.chdir(OPTIONS.parent)
    for name, entry in suites.load(file).lineages.items():
        for stage in entry.trained:
            train = entry.experiment.stages[stage].opt['train']
            milestones = (train.get('scheduler') or {}).get('milestones')
            assert not milestones or train['total_iter'] / 2 <= milestones[-1] < train['total_iter'], (name, stage)


def test_teachers_do_not_count_and_parts_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(OPTIONS.parent)
    found = suites.load('options/bench/portraits_x8.yml').lineages
    assert found['pkdn'].trained == ('student',) and list(found['pkdn'].experiment.stages) == ['teacher', 'student']
    assert found['dapfsr'].trained == ('warm_up', 'decoder', 'encoder')
    assert found['cface'].trained == ('srresnet', 'gan', 'joint')
    assert found['tsnet'].trained == ('joint',)
    recogniser = found['cface'].experiment.stages['recogniser'].opt['datasets']['train']
    assert recogniser['dataroot_gt'][0] == SUITE_TRAIN and recogniser['dataroot_gt'][1].endswith('images.lmdb')


def test_a_teacher_whose_layers_are_taken_counts_but_has_no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs parsing maps, and the set that curves are measured on need not have any."""
    monkeypatch.chdir(OPTIONS.parent)
    found = suites.load('options/bench/lfw_x4.yml', only=['pkdn', 'tsnet', 'dapfsr']).lineages
    stages = found['pkdn'].experiment.stages
    assert found['pkdn'].trained == ('teacher', 'student')
    assert ['val_bench' in stage.opt['datasets'] for stage in stages.values()] == [False, True]
    # Another label, or put together of two: the same kind of network.
    assert [found[name].monitored_stages() for name in ('tsnet', 'dapfsr')] == [
        ('pixels', 'joint'),
        ('warm_up', 'encoder'),
    ]


SUITE_TRAIN = 'portraits://studio/train?number=2000&size=128'


def test_an_oracle_is_the_network_on_the_cameras_own_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """TNet's LR is what the suite's degradation makes of the very faces; DeNet, which only learns to, takes no part."""
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    lineage = suites.load('options/bench/tsnet_demo.yml', only=['oracle']).lineages['oracle']
    demo = config.load(root / 'options' / 'tsnet.yml').stages['joint']
    assert (list(lineage.experiment.stages), lineage.label) == (['joint'], 'net_t')
    stage = lineage.experiment.stages['joint']
    assert stage.options.degradation == {'type': 'NeutralCamera', 'scale': 4}
    same = ('network_t', 'network_s', 'network_ds', 'network_d_t')
    assert all(stage.opt[key] == demo.opt[key] for key in same)
    changed = {key for key in demo.opt['train'] if demo.opt['train'][key] != stage.opt['train'].get(key)}
    assert changed == {'lr_noise', 'lr_source'} and stage.opt['train']['lr_source'] == 'bicubic'


def test_which_weights_an_entry_chooses_is_said(folder: Path) -> None:
    write_suite(
        folder,
        reference=None,
        papers={},
        entries={
            'chosen': {'checkpoint': 'face_x4', 'param_key': 'params', 'unfair': 'yes'},
            'plain': {'checkpoint': 'face_x4', 'title': 'Plain'},
        },
    )
    read = suites.load('suite.yml')
    described = {
        name: {
            **gather._describe(read, name, Candidate(name, resolved('face_x4')[0], entry.param_key)),
            'differs': [],
            'seeds': [],
        }
        for name, entry in read.entries.items()
    }
    assert described['chosen']['param_key'] == 'params' and 'param_key' not in described['plain']
    said = words.entries_in_words(cast(Results, {'entries': described}))
    assert said['chosen'][-1].endswith("; its weights are 'params', those as trained, not averaged")
    assert 'weights are' not in said['Plain'][-1]
