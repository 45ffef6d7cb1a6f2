"""TSNet's option files: each is accepted, and what the paper states is in them."""

from __future__ import annotations

import pytest
from option_files import stages

from fsr_plugins.errors import UserError


@pytest.mark.parametrize(
    ('file', 'degradation', 'adversarial', 'cycle'),
    # Section 3.1 for the paper's setting; what the small ones change is explained in them.
    [('paper/tsnet.yml', 0.05, 0.001, 1.0), ('tsnet.yml', 0.4, 1e-5, 0.1), ('lfw/tsnet.yml', 0.4, 1e-5, 0.1)],
)
def test_two_stages_with_their_weights(file: str, degradation: float, adversarial: float, cycle: float) -> None:
    opts = stages(file)
    assert list(opts) == ['degradation', 'joint']
    first, second = opts['degradation']['train'], opts['joint']['train']
    assert (first['pixel_opt']['loss_weight'], first['gan_opt']['loss_weight']) == (1.0, degradation)
    for net in 'ts':
        assert second[f'pixel_opt_{net}']['loss']['loss_weight'] == 1.0
        assert second[f'gan_opt_{net}']['loss_weight'] == adversarial
    assert second['cycle_opt']['loss_weight'] == cycle
    assert opts['joint']['network_t'] == opts['joint']['network_s']
    assert opts['joint']['network_de'] == opts['degradation']['network_de']  # its weights have to fit


def test_paper_schedule_counts_20000_hr_images() -> None:
    for name, batch, epoch in (('degradation', 16, 20000 // 16), ('joint', 4, 20000 // 4)):
        opt = stages('paper/tsnet.yml')[name]
        assert opt['datasets']['train']['batch_size_per_gpu'] == batch
        assert opt['train']['total_iter'] == 50 * epoch
        assert opt['train']['scheduler']['milestones'] == [10 * epoch, 20 * epoch, 30 * epoch, 40 * epoch]
        assert opt['train']['scheduler']['gamma'] == 0.5
        assert opt['train']['optim']['lr'] == 1e-4


@pytest.mark.parametrize(
    'overrides',
    [
        ['stages.joint.network_t.priors=[none,none,none]', 'stages.joint.network_s.priors=[none,none,none]'],
        ['stages.joint.network_t.priors=[none,canny,none]', 'stages.joint.network_s.priors=[none,canny,none]'],
        ['stages.joint.train.train_mode=cyclegan'],
        ['stages.joint.train.use_cycle=false'],
        ['stages.joint.train.lr_source=bicubic'],
        ['stages.joint.train.eval_net=t'],
    ],
)
def test_every_row_of_table_3_is_a_switch(overrides: list[str]) -> None:
    assert stages('tsnet.yml', *overrides) != stages('tsnet.yml')


def test_a_switch_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match='lr_source'):
        stages('tsnet.yml', 'stages.joint.train.lr_source=average')
