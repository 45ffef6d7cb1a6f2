"""What a change of options or data means for a stage that has begun or is finished."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import two_stages
from test_pipeline import newest_state

from fsr_plugins import config, pipeline, preflight
from fsr_plugins.checkpoints import described
from fsr_plugins.cli import main
from fsr_plugins.errors import Interrupted, UserError
from fsr_plugins.models import SupervisedModel
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

LMDB = 'datasets.train.dataroot_gt=data/train.lmdb'


def as_lmdb(folder: str, path: str) -> None:
    store = FolderStore(folder)
    write_lmdb(path, [store.get(key) for key in store.keys])


def stop_at(file: Path, iteration: int, overrides: Sequence[str] = (), stage: str = 'first') -> None:
    """Runs an experiment until it is asked to stop."""
    step = SupervisedModel.step

    def stopping(self: SupervisedModel) -> None:
        step(self)
        if self.current_iter == iteration and self.opt['name'].endswith(stage):
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedModel, 'step', stopping)
        with pytest.raises(Interrupted):
            pipeline.run(config.load(file, overrides))


def weights(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)['params']


def exchange_lmdb() -> None:
    shutil.rmtree('data/train.lmdb')
    shutil.copytree('data/other.lmdb', 'data/train.lmdb')


def add_an_image() -> None:
    shutil.copyfile('data/train/0.png', 'data/train/new.png')


def change_pixels() -> None:
    shutil.copyfile('data/train/0.png', 'data/train/1.png')


EXCHANGES = [([LMDB], exchange_lmdb), ([], add_an_image), ([], change_pixels)]


@pytest.mark.parametrize(('overrides', 'exchange'), EXCHANGES)
@pytest.mark.parametrize('stage', ['first', 'second'])
def test_data_exchanged_in_the_middle_is_refused_by_name(
    experiment_file: Path, overrides: list[str], exchange: Callable[[], None], stage: str
) -> None:
    tiny.write_faces(Path('data/other'), 12, 16)
    as_lmdb('data/train', 'data/train.lmdb')
    as_lmdb('data/other', 'data/other.lmdb')
    stop_at(experiment_file, 4, overrides, stage)
    states = {path: path.read_bytes() for path in Path('experiments').rglob('*.state')}
    exchange()
    experiment = config.load(experiment_file, overrides)
    named = r'datasets\.train\.dataroot_gt: what data/train\S* holds \('
    with pytest.raises(UserError, match=rf"Stage '{stage}' has begun with other options or data: {named}"):
        pipeline.run(experiment)
    found = preflight.inspect(experiment, dry_steps=False).errors
    assert any(finding.stage == stage and finding.check == 'options' for finding in found)
    assert {path: path.read_bytes() for path in Path('experiments').rglob('*.state')} == states


@pytest.mark.parametrize(('overrides', 'exchange'), EXCHANGES)
def test_data_exchanged_after_the_end_is_refused(
    experiment_file: Path, overrides: list[str], exchange: Callable[[], None]
) -> None:
    tiny.write_faces(Path('data/other'), 12, 16)
    as_lmdb('data/train', 'data/train.lmdb')
    as_lmdb('data/other', 'data/other.lmdb')
    pipeline.run(config.load(experiment_file, overrides))
    exchange()
    with pytest.raises(UserError, match=r"Stage 'first' is finished with other options or data: datasets\.train\.data"):
        pipeline.run(config.load(experiment_file, overrides), accept_changes=True)


def test_parsing_maps_count_for_those_who_read_them(experiment_file: Path) -> None:
    """They are found for one method, when others are trained."""
    as_lmdb('data/train', 'data/train.lmdb')
    overrides = [LMDB, 'stages.second.datasets.train.views=[parsing]']
    store = FolderStore('data/train')

    def with_maps(label: int) -> None:
        shutil.rmtree('data/train.lmdb')
        maps = np.full((16, 16), label, np.uint8)
        write_lmdb('data/train.lmdb', [Face(key, store.image(key), parsing=maps) for key in store.keys])

    summary = pipeline.run(config.load(experiment_file, [LMDB]))
    with_maps(1)
    assert pipeline.run(config.load(experiment_file, [LMDB])) == summary
    with pytest.raises(UserError, match=r"Stage 'second' is finished with other options.*views"):
        pipeline.run(config.load(experiment_file, overrides))
    shutil.rmtree('experiments/small/second')
    pipeline.run(config.load(experiment_file, overrides))
    with_maps(2)
    with pytest.raises(UserError, match=r"Stage 'second' is finished with .* data: datasets\.train\.dataroot_gt: what"):
        pipeline.run(config.load(experiment_file, overrides))


def test_data_that_is_gone_after_the_end_is_not_missed(experiment_file: Path) -> None:
    summary = pipeline.run(config.load(experiment_file))
    shutil.rmtree('data/train')
    assert pipeline.run(config.load(experiment_file)) == summary


def test_data_that_lies_elsewhere_is_the_same_data(experiment_file: Path) -> None:
    stop_at(experiment_file, 4)
    shutil.move('data/train', 'data/moved')
    summary = pipeline.run(config.load(experiment_file, ['datasets.train.dataroot_gt=data/moved']))
    assert set(summary['stages']) == {'first', 'second'}


def test_accepted_changes_are_told_by_every_checkpoint(experiment_file: Path) -> None:
    tiny.write_faces(Path('data/other'), 12, 16)
    as_lmdb('data/train', 'data/train.lmdb')
    as_lmdb('data/other', 'data/other.lmdb')
    old, new = (json.loads(Path(f'data/{name}.lmdb/manifest.json').read_text()) for name in ('train', 'other'))
    stop_at(experiment_file, 4, [LMDB])
    exchange_lmdb()
    arguments = ['-opt', str(experiment_file), '--set', LMDB, '--set', 'train.optim.lr=0.0005']
    assert main(['train', *arguments]) == 2
    assert main(['train', *arguments, '--accept-changes']) == 0
    folder = Path('experiments/small/first')
    meta = described(folder / 'models/net_g_latest.pth')['meta']
    (change,) = meta['history']
    assert change['after'] == 4
    lines = '\n'.join(change['changes'])
    assert 'train.optim.lr: 0.001 -> 0.0005' in lines and 'what data/train.lmdb holds' in lines
    assert {store['checksum'] for store in meta['manifests']['train']} == {old['checksum'], new['checksum']}
    summary = json.loads(Path('experiments/small/summary.json').read_text())
    assert summary['stages']['first']['history'] == [change] and 'history' not in summary['stages']['second']
    assert set((folder / 'images/gt.txt').read_text().split()) == {*old['keys'], *new['keys']}
    # Accepted once, it is what the stage was trained with.
    assert main(['train', *arguments]) == 0


@pytest.mark.parametrize('done', [False, True])
def test_options_are_known_without_the_file_that_shows_them(experiment_file: Path, done: bool) -> None:
    if done:
        pipeline.run(config.load(experiment_file))
    else:
        stop_at(experiment_file, 4)
    file = Path('experiments/small/first/options.yml')
    file.unlink()
    with pytest.raises(UserError, match=r'train\.optim\.lr: 0\.001 -> 1e-05'):
        pipeline.run(config.load(experiment_file, ['train.optim.lr=1e-5']))
    file.write_text('a: [')
    pipeline.run(config.load(experiment_file))


def test_an_accepted_rate_is_the_rate_from_there_on(experiment_file: Path) -> None:
    stop_at(experiment_file, 4)
    pipeline.run(config.load(experiment_file, ['train.optim.lr=0.0004']), accept_changes=True)
    groups = newest_state(Path('experiments/small/first'))['model']['optimizers'][0]['param_groups']
    # Halved after the sixth iteration, as the schedule says.
    assert [group['lr'] for group in groups] == [0.0002] and groups[0]['initial_lr'] == 0.0004


SCHEDULE = 'stages.first.train.scheduler={type: MultiStepLR, milestones: [6, 14], gamma: 0.5}'


@pytest.mark.parametrize('overrides', [(), (SCHEDULE,)])
def test_a_finished_stage_goes_on_to_what_all_at_once_would_have_given(
    experiment_file: Path, overrides: tuple[str, ...]
) -> None:
    longer = ['stages.first.train.total_iter=18', *overrides]
    pipeline.run(config.load(experiment_file, ['name=whole', *longer]))
    pipeline.run(config.load(experiment_file))
    experiments = Path('experiments')
    before = weights(experiments / 'small/second/models/net_g_latest.pth')
    with pytest.raises(UserError, match=r"'second' was made from stage 'first'.*--accept-changes"):
        pipeline.run(config.load(experiment_file, longer))
    summary = pipeline.run(config.load(experiment_file, longer), accept_changes=True)
    assert summary['stages']['first']['iterations'] == 18
    for stage in ('first', 'second'):
        ours, theirs = (weights(experiments / f'{name}/{stage}/models/net_g_latest.pth') for name in ('small', 'whole'))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), stage
    (kept,) = experiments.glob('small/second_archived_*')
    old = weights(kept / 'models/net_g_latest.pth')
    assert all(torch.equal(old[key], before[key]) for key in before)
    assert pipeline.run(config.load(experiment_file, longer)) == summary


@pytest.fixture
def single(experiment_file: Path) -> Path:
    """An experiment of one stage, ``train``."""
    values = {key: value for key, value in two_stages.EXPERIMENT.items() if key != 'stages'}
    return tiny.write_options(experiment_file.with_name('single.yml'), values)


def test_killed_after_it_went_on_it_is_what_it_was_or_goes_on(single: Path) -> None:
    longer = 'train.total_iter=18'
    pipeline.run(config.load(single, ['name=whole', longer]))
    before = pipeline.run(config.load(single))
    stop_at(single, 15, [longer], 'train')
    assert pipeline.run(config.load(single)) == before
    pipeline.run(config.load(single, [longer]))
    ours, theirs = (weights(Path(f'experiments/{name}/train/models/net_g_latest.pth')) for name in ('small', 'whole'))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ('overrides', 'reason'),
    [
        (['train.scheduler={type: CosineAnnealingLR, T_max: 18}'], r'train\.scheduler\.T_max: \(absent\) -> 18'),
        (['train.scheduler.milestones=[5, 14]'], r'train\.scheduler\.milestones: \[6\] -> \[5, 14\]'),
        (['train.total_iter=8'], r'train\.total_iter: 12 -> 8'),
        (['train.warmup_iter=3'], r'train\.warmup_iter: -1 -> 3'),
    ],
)
def test_what_stands_in_the_way_is_named(single: Path, overrides: list[str], reason: str) -> None:
    pipeline.run(config.load(single))
    with pytest.raises(UserError, match=reason):
        pipeline.run(config.load(single, ['train.total_iter=18', *overrides]))


def test_steps_that_were_cut_short_stand_in_the_way(single: Path) -> None:
    pipeline.run(config.load(single, ['train.accumulate=5']))
    with pytest.raises(UserError, match=r'train\.accumulate: 5 does not divide the 12 iterations'):
        pipeline.run(config.load(single, ['train.accumulate=5', 'train.total_iter=18']))


def test_the_number_of_processes_counts(experiment_file: Path) -> None:
    stop_at(experiment_file, 4)
    stage = config.load(experiment_file).stages['first']
    assert preflight.standing(stage, processes=1).iteration == 4
    with pytest.raises(UserError, match=r'images of an iteration: 1 x 4 -> 2 x 4.*--accept-changes'):
        preflight.standing(stage, processes=2)
    halved = config.load(experiment_file, ['datasets.train.batch_size_per_gpu=2']).stages['first']
    assert preflight.standing(halved, processes=2).changes == ()
    assert preflight.standing(stage, processes=2, accept=True).changes


def test_a_store_of_another_experiment_is_another_store(experiment_file: Path) -> None:
    shutil.copytree('data/train', 'a/experiments/x')
    shutil.copytree('data/val', 'b/experiments/x')
    stop_at(experiment_file, 4, ['datasets.train.dataroot_gt=a/experiments/x'])
    with pytest.raises(UserError, match=r'datasets\.train\.dataroot_gt'):
        pipeline.run(config.load(experiment_file, ['datasets.train.dataroot_gt=b/experiments/x']))


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        target = state
        *steps, last = key.split('.')
        for step in steps:
            target = target[step]
        target[last] = value

    return change


def nan_moments(state: dict[str, Any]) -> None:
    state['model']['optimizers'][0]['state'][0]['exp_avg'].fill_(torch.nan)


@pytest.fixture(scope='module')
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """A folder with an experiment that was stopped at iteration 8, and what it validates to when it is not stopped."""
    folder = tmp_path_factory.mktemp('stopped')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        file = two_stages.write(folder, two_stages.EXPERIMENT)
        whole = pipeline.run(config.load(file, ['name=whole']))
        stop_at(file, 8)
    return folder, whole['validation']


@pytest.mark.parametrize(
    'forge',
    [
        *(put('iter', value) for value in (-3, 0, 7, 10**9, 'x', None, 8.0)),
        put('seconds', 'a'),
        put('seconds', -1.0),
        put('validation', 5),
        put('random', {}),
        put('random', None),
        put('random', []),
        put('random', [{}]),
        put('model', {}),
        put('model.nets', {}),
        put('model.nets', {'net_g': {}}),
        put('model.nets', {'net_g': {'conv_first.weight': torch.zeros(1)}}),
        put('model.averages', {}),
        put('model.optimizers', []),
        put('model.optimizers', [{}]),
        put('model.log', None),
        put('inputs', {}),
        put('inputs', 3),
        put('inputs', {'options': {}, 'processes': 1, 'content': {}}),
        put('inputs.options.train', None),
        put('inputs.options.train', {}),
        put('history', 'x'),
        nan_moments,
    ],
)
def test_a_forged_state_is_named_and_passed_over(
    stopped: tuple[Path, object],
    experiment_file: Path,
    capsys: pytest.CaptureFixture[str],
    forge: Callable[[dict[str, Any]], None],
) -> None:
    folder, validation = stopped
    shutil.copytree(folder / 'experiments', 'experiments')
    file = Path('experiments/small/first/training_states/8.state')
    state = torch.load(file, weights_only=True)
    forge(state)
    torch.save(state, file)
    Path(f'{file}.sha256').unlink()
    capsys.readouterr()
    summary = pipeline.run(config.load(experiment_file))
    assert summary['validation'] == validation
    printed = capsys.readouterr().out
    assert '8.state' in printed and 'Using the one before' in printed and 'resumed at iteration 6' in printed


def test_only_states_of_another_network_are_refused(experiment_file: Path) -> None:
    stop_at(experiment_file, 8)
    with pytest.raises(UserError, match='No state in .* is of this stage .*net_g'):
        pipeline.run(config.load(experiment_file, ['network_g.num_feat=12']), accept_changes=True)


def test_a_state_of_another_experiment_is_taken_over(single: Path) -> None:
    pipeline.run(config.load(single, ['name=whole']))
    stop_at(single, 8, ['name=begun'], 'train')
    state = Path('experiments/begun/train/training_states/8.state').resolve()
    over = [f'path.resume_state={state}']
    summary = pipeline.run(config.load(single, over))
    ours, theirs = (weights(Path(f'experiments/{name}/train/models/net_g_latest.pth')) for name in ('small', 'whole'))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert summary['stages']['train']['history'] == [{'after': 8, 'changes': [f'training went on from {state}']}]


def test_the_stages_own_state_is_taken_before_another(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop_at(single, 8, ['name=begun'], 'train')
    stop_at(single, 10, [], 'train')
    capsys.readouterr()
    pipeline.run(config.load(single, ['path.resume_state=experiments/begun/train/training_states/8.state']))
    assert 'resumed at iteration 10' in capsys.readouterr().out


def basicsr_state(path: Path) -> None:
    torch.save({'epoch': 0, 'iter': 8, 'optimizers': [], 'schedulers': []}, path)


def other_network(path: Path) -> None:
    single = path.with_name('single.yml')
    stop_at(single, 8, ['name=other', 'network_g.num_feat=12'], 'train')
    shutil.copyfile('experiments/other/train/training_states/8.state', path)


def cut_short(path: Path) -> None:
    stop_at(path.with_name('single.yml'), 8, ['name=other'], 'train')
    path.write_bytes(Path('experiments/other/train/training_states/8.state').read_bytes()[:-500])


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (lambda path: None, "there is no file 'given.state'"),
        (basicsr_state, 'is a training state of BasicSR, which holds no weights'),
        (cut_short, 'given.state'),
        (other_network, 'does not fit EDSR.*Name another state'),
    ],
)
def test_a_state_that_cannot_be_taken_over_is_refused(single: Path, make: Callable[[Path], None], reason: str) -> None:
    make(single.with_name('given.state'))
    with pytest.raises(UserError, match=reason):
        pipeline.run(config.load(single, ['path.resume_state=given.state']))
    assert not list(Path('experiments/small').rglob('*.pth'))


def test_what_was_made_of_what_was_made_anew_is_made_anew(experiment_file: Path) -> None:
    values = {**two_stages.EXPERIMENT, 'stages': {**two_stages.EXPERIMENT['stages']}}
    values['stages']['third'] = {'path': {'pretrain_network_g': 'stage:second/net_g'}, 'train': {'total_iter': 5}}
    tiny.write_options(experiment_file, values)
    longer = ['stages.first.train.total_iter=18']
    pipeline.run(config.load(experiment_file, ['name=whole', *longer]))
    pipeline.run(config.load(experiment_file))
    with pytest.raises(UserError) as caught:
        pipeline.run(config.load(experiment_file, longer))
    assert "'second' was made from stage 'first'" in str(caught.value)
    assert "'third' was made from stage 'second'" in str(caught.value)
    pipeline.run(config.load(experiment_file, longer), accept_changes=True)
    for stage in ('first', 'second', 'third'):
        files = [Path(f'experiments/{name}/{stage}/models/net_g_latest.pth') for name in ('small', 'whole')]
        ours, theirs = map(weights, files)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), stage


def measured(stage: str, *overrides: str) -> Any:
    return pipeline.evaluate(config.load('single.yml', overrides))['validation']['held_out'][stage]


def test_a_training_that_ends_earlier_is_measured_where_it_ends(single: Path) -> None:
    stop_at(single, 8, (), 'train')
    shorter = 'train.total_iter=8'
    summary = pipeline.run(config.load(single, [shorter]))
    assert summary['stages']['train']['iterations'] == 8
    found = summary['validation']['held_out']['result']
    assert found == pytest.approx(measured('result', shorter), rel=1e-6)
    last = json.loads(Path('experiments/small/train/metrics.jsonl').read_text().splitlines()[-1])
    assert last['iter'] == 8 and last['validation']['held_out']['result'] == found


def test_figures_of_another_experiment_are_never_taken_over(single: Path) -> None:
    pipeline.run(config.load(single, ['name=other', 'train.total_iter=8']))
    state = 'experiments/other/train/training_states/8.state'
    given = [f'path.resume_state={state}', 'train.total_iter=8', 'datasets.val.dataroot_gt=data/train']
    found = pipeline.run(config.load(single, given))['validation']['held_out']['result']
    assert found == pytest.approx(measured('result', *given), rel=1e-6)


@pytest.mark.parametrize('accept', [False, True])
def test_a_training_behind_its_state_is_never_accepted(single: Path, accept: bool) -> None:
    stop_at(single, 8, (), 'train')
    with pytest.raises(UserError, match=r'train\.total_iter: 12 -> 6, and 8 are trained') as caught:
        pipeline.run(config.load(single, ['train.total_iter=6']), accept_changes=accept)
    assert '--accept-changes' not in str(caught.value)


@pytest.mark.parametrize('what', ['train', 'val'])
def test_a_prepared_set_is_looked_at_and_not_its_manifest(single: Path, what: str) -> None:
    for name in ('train', 'val'):
        assert main(['prepare', 'folder', f'data/{name}', f'prepared/{name}', '--crop', 'none']) == 0
    given = ['datasets.train.dataroot_gt=prepared/train', 'datasets.val.dataroot_gt=prepared/val']
    before = pipeline.run(config.load(single, given))
    shutil.copyfile('data/train/7.png', f'prepared/{what}/images/0.png')
    refusal = {'train': 'is finished with other options or data', 'val': 'not have the checksum of its manifest'}
    with pytest.raises(UserError, match=refusal[what]):
        pipeline.run(config.load(single, given))
    assert json.loads(Path('experiments/small/summary.json').read_text()) == before


@pytest.mark.parametrize(
    ('overrides', 'anew'),
    [
        (['train.optim.amsgrad=true'], True),
        (['train.optim={type: SGD, lr: 0.001}'], True),
        (['train.optim={type: SGD, lr: 0.001, momentum: 0.9}'], True),
        (['train.optim={type: MuonAdam, lr: 0.001}'], True),
        (['train.optim.betas=[0.8, 0.99]'], False),
        (['train.optim.type=AdamW'], False),
        (['precision=bf16'], False),
    ],
)
def test_an_accepted_optimiser_keeps_the_moments_that_serve(single: Path, overrides: list[str], anew: bool) -> None:
    stop_at(single, 8, (), 'train')
    summary = pipeline.run(config.load(single, overrides), accept_changes=True)
    ((change,),) = [summary['stages']['train']['history']]
    assert any('began anew' in line for line in change['changes']) == anew
    assert change['after'] == 8 and len(change['changes']) > anew


def test_muon_stopped_and_continued_ends_in_the_same_weights(single: Path) -> None:
    muon = ['train.optim={type: MuonAdam, lr: 0.001}']
    whole = config.load(single, [*muon, 'name=whole'])
    pipeline.run(whole)
    stop_at(single, 8, muon, 'train')
    broken = config.load(single, muon)
    pipeline.run(broken)
    last = [
        weights(Path('experiments', name, 'train', 'models', 'net_g_latest.pth')) for name in ('whole', broken.name)
    ]
    assert last[0].keys() == last[1].keys() and all(torch.equal(value, last[1][key]) for key, value in last[0].items())


@pytest.mark.parametrize(
    'override',
    [
        'datasets.train.use_shuffle=false', 'datasets.train.dataset_enlarge_ratio=4', 'train.accumulate=1',
        'train.optim_g=null', 'val.suffix=x', 'datasets.train.gt_size=null', 'precision=fp32',
    ],
)  # fmt: skip
@pytest.mark.parametrize('done', [False, True])
def test_what_changes_nothing_is_no_change(single: Path, override: str, done: bool) -> None:
    if done:
        pipeline.run(config.load(single))
    else:
        stop_at(single, 8, (), 'train')
    stage = config.load(single, [override]).stages['train']
    assert preflight.standing(stage, processes=1).changes == ()


def test_an_experiment_may_be_renamed(single: Path) -> None:
    summary = pipeline.run(config.load(single))
    Path('experiments/small').rename('experiments/other')
    assert pipeline.run(config.load(single, ['name=other']))['validation'] == summary['validation']


def test_labels_that_are_no_faces_leave_checkpoints_that_can_be_read(single: Path) -> None:
    keys = sorted(path.stem for path in Path('data/train').iterdir())
    Path('p').mkdir()
    shutil.copytree('data/train', 'p/images')
    header = ','.join(['key', 'identity', *(f'l{axis}{point}' for point in range(5) for axis in 'xy')])
    rows = [f'{key},,' + ','.join(['5'] * 10) for key in keys]
    Path('p/faces.csv').write_text('\n'.join([header, *rows]) + '\n')
    pipeline.run(config.load(single, ['datasets.train.dataroot_gt=p']))
    assert described(Path('experiments/small/train/models/net_g_latest.pth'))['meta']['manifests']['train']


@pytest.mark.parametrize('options', [{}, {'train': {}}, {'train': 3}, {'train': {'total_iter': 'x'}}])
def test_a_record_that_does_not_say_what_it_should_is_no_defect(single: Path, options: dict[str, Any]) -> None:
    pipeline.run(config.load(single))
    file = Path('experiments/small/train/done.json')
    record = json.loads(file.read_text())
    record['inputs']['options'] = options
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match='is finished with other options or data'):
        pipeline.run(config.load(single))
