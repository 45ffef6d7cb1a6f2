"""PKDN's option files: each is accepted, its stages fit each other, and what the paper states is in them."""

from __future__ import annotations

import pytest
from option_files import stages

from fsr_plugins.errors import UserError

SMALL, PAPER = ['pkdn.yml', 'lfw/pkdn.yml'], ['paper/pkdn_celeba.yml', 'paper/pkdn_helen.yml']


@pytest.mark.parametrize('file', SMALL + PAPER)
def test_teacher_of_the_student_is_the_one_trained_and_metrics_follow_dic(file: str) -> None:
    opts = stages(file)
    assert opts['student']['network_t'] == opts['teacher']['network_t']
    assert opts['student']['network_g']['num_feat'] == opts['teacher']['network_t']['num_feat']
    for opt in opts.values():
        metrics = opt['val']['metrics']
        for name in ('psnr_y', 'ssim_y'):
            assert (metrics[name]['test_y_channel'], metrics[name]['crop_border']) == (True, 8)
        assert not metrics['psnr'].get('crop_border') and not metrics['ssim'].get('crop_border')


@pytest.mark.parametrize('file', SMALL)
def test_the_control_is_the_student_trained_alike_but_without_a_teacher(file: str) -> None:
    opts = stages(file)
    assert list(opts) == ['teacher', 'alone', 'student']
    alone, student = opts['alone'], opts['student']
    assert alone['network_g'] == student['network_g']
    assert alone['datasets'] == student['datasets']
    taught = dict(student['train'])
    assert taught.pop('kd_opt')['type'] == 'DistillationLoss'
    taught.pop('kd_include_bottleneck')
    assert alone['train'] == taught


@pytest.mark.parametrize(('file', 'faces', 'iterations'), [(PAPER[0], 168_854, 21_107), (PAPER[1], 1_955, 245)])
def test_paper_schedule_counts_the_faces(file: str, faces: int, iterations: int) -> None:
    for opt in stages(file).values():
        batch = opt['datasets']['train']['batch_size_per_gpu']
        assert -(-faces // batch) == iterations
        assert opt['train']['total_iter'] == 400 * iterations
        assert (opt['train']['optim']['lr'], opt['train'].get('scheduler')) == (1e-4, None)
    kd = stages(file)['student']['train']['kd_opt']
    assert (kd['response_weight'], kd['feature_weight'], kd['schedule'], kd['epochs']) == (0.1, 10.0, 'kdfsrnet', 10)
    assert kd['iters_per_epoch'] == iterations


def for_both(argument: str) -> list[str]:
    return [f'stages.{stage}.network_t.{argument}' for stage in ('teacher', 'student')]


@pytest.mark.parametrize(
    'overrides',
    [
        [*for_both('teacher_block=rcag'), *for_both('num_block=6'), *for_both('use_ffb=false')],
        for_both('use_ffb=false'),
        for_both('parsing_format=onehot'),
        for_both('concat_parsing_head=true'),
        for_both('pre_upsample=bilinear'),
        ['stages.student.network_g.student_ffb=true'],
        ['stages.student.train.kd_include_bottleneck=true'],
        ['stages.student.train.kd_opt.schedule=constant'],
        ['stages.student.train.kd_opt.response_weight=0', 'stages.student.train.kd_opt.feature_weight=1.5'],
    ],
)
def test_every_row_of_table_2_and_every_silent_point_is_a_switch(overrides: list[str]) -> None:
    assert stages(PAPER[0], *overrides) != stages(PAPER[0])


def test_a_switch_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match='kd_include_bottleneck'):
        stages('pkdn.yml', 'stages.student.train.kd_with_bottleneck=true')
