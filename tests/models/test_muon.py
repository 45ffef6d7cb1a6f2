"""MuonAdam against torch's own Muon and Adam, and in a training that is saved and continued."""

import copy

import pytest
import torch
from torch import nn

from fsr_plugins.errors import UserError
from fsr_plugins.models.optim import build_optimizer, fits_parameters, needs_of
from fsr_plugins.muon import MuonAdam, orthogonalised


def gradients(net: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    # Of the last but one more rows than columns.
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 99, 3), nn.Conv2d(99, 2, 1))


@pytest.mark.parametrize('shape', [(5, 24, 24), (1, 16, 48), (3, 48, 16)])
def test_singular_values_become_about_one_and_vectors_stay(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, values, vh = torch.linalg.svd(matrices, full_matrices=False)
    made = orthogonalised(matrices)
    turned = u.mT @ made @ vh.mT
    # Tiny singular values need more rounds than there are.
    large = values > 0.05 * values.amax(dim=1, keepdim=True)
    diagonal = turned.diagonal(dim1=1, dim2=2)[large]
    assert diagonal.min() > 0.6 and diagonal.max() < 1.25
    assert (turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))).abs().max() < 0.05  # three digits of bf16
    assert (orthogonalised(torch.zeros(2, 3, 4)) == 0).all()


@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='this torch has no Muon')
def test_matrices_learn_as_by_torchs_muon():
    ours, theirs = (nn.Sequential(nn.Linear(40, 16, bias=False), nn.Linear(16, 16, bias=False)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine = MuonAdam(ours.parameters(), lr=2e-3, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs.parameters(), lr=2e-3, weight_decay=0.1, adjust_lr_fn='match_rms_adamw')
    before = copy.deepcopy(ours)
    for step in range(5):
        for net, optimizer in ((ours, mine), (theirs, torchs)):
            gradients(net, step)
            optimizer.step()
    for a, b, start in zip(ours.parameters(), theirs.parameters(), before.parameters(), strict=True):
        # torch works in bf16, three digits.
        assert (a - b).norm() < 0.03 * (b - start).norm()


def test_biases_learn_as_by_adam_and_kernels_as_their_matrices():
    net = small_net()
    twin = copy.deepcopy(net)
    flat = nn.ParameterList(nn.Parameter(p.detach().flatten(1).clone()) for p in net.parameters() if p.ndim > 1)
    mine = build_optimizer({'type': 'MuonAdam', 'lr': 1e-3, 'betas': [0.8, 0.99]}, net.parameters())
    vectors = [p for p in twin.parameters() if p.ndim <= 1]
    adam = torch.optim.Adam(vectors, lr=1e-3, betas=(0.8, 0.99))
    other = MuonAdam(flat, lr=1e-3)
    for step in range(4):
        gradients(net, step)
        gradients(twin, step)
        for matrix, kernel in zip(flat, (p for p in net.parameters() if p.ndim > 1), strict=True):
            matrix.grad = kernel.grad.flatten(1)
        for optimizer in (mine, adam, other):
            optimizer.step()
    for a, b in zip((p for p in net.parameters() if p.ndim <= 1), vectors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    for a, b in zip((p for p in net.parameters() if p.ndim > 1), flat, strict=True):
        torch.testing.assert_close(a.flatten(1), b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('coarse', [False, True])
def test_channels_last_learns_alike(coarse, monkeypatch):
    monkeypatch.setattr('fsr_plugins.muon.computes_bf16', lambda device: coarse)
    nets = [small_net(), small_net().to(memory_format=torch.channels_last)]
    for net in nets:
        optimizer = MuonAdam(net.parameters(), lr=1e-3)
        for step in range(3):
            gradients(net, step)
            optimizer.step()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_a_saved_state_continues_to_the_bit(tmp_path):
    net = small_net()
    optimizer = MuonAdam(net.parameters(), lr=1e-3)
    for step in range(3):
        gradients(net, step)
        optimizer.step()
    torch.save({'net': net.state_dict(), 'optimizer': optimizer.state_dict()}, tmp_path / 'state.pth')
    saved = torch.load(tmp_path / 'state.pth', weights_only=True)
    again = small_net()
    again.load_state_dict(saved['net'])
    other = MuonAdam(again.parameters(), lr=1e-3)
    assert fits_parameters(other, saved['optimizer']['state'])
    kept = {key for each in saved['optimizer']['state'].values() for key in each}
    assert kept == needs_of(other) == {'momentum', 'step', 'exp_avg', 'exp_avg_sq'}
    other.load_state_dict(saved['optimizer'])
    for one, its in ((net, optimizer), (again, other)):
        for step in range(3, 5):
            gradients(one, step)
            its.step()
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    del saved['optimizer']['state'][0]['momentum']
    assert not fits_parameters(other, saved['optimizer']['state'])


def test_arguments_are_refused_by_name():
    for wrong in ({'momentum': 1.0}, {'betas': [0.9]}, {'lr': -1.0}, {'eps': 0.0}, {'weight_decay': -1.0}):
        with pytest.raises(UserError, match='MuonAdam: '):
            MuonAdam(small_net().parameters(), **wrong)


@pytest.mark.parametrize('shape', [(1, 8, 4, 3, 3), (1, 8, 36)])
def test_a_leading_side_of_one_is_no_row(shape):
    """StyleGAN2's kernels, and learnt positions."""
    gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    learnt = []
    for form in ((8, 4, 3, 3), shape):
        parameter = nn.Parameter(torch.zeros(form))
        optimizer = MuonAdam([parameter], lr=1.0)
        parameter.grad = gradient.reshape(form)
        optimizer.step()
        learnt.append(parameter.detach().reshape(8, 36))
    torch.testing.assert_close(*learnt)
    assert torch.linalg.svdvals(learnt[0])[-1] > 0.5 * torch.linalg.svdvals(learnt[0])[0]


def test_scales_of_channels_and_single_rows_learn_by_adam():
    parameters = [nn.Parameter(torch.ones(shape)) for shape in ((1, 5, 1, 1), (5, 1, 1), (1, 4, 3, 3), (6,), ())]
    optimizer = MuonAdam(parameters, lr=0.1)
    twins = [nn.Parameter(torch.ones_like(parameter)) for parameter in parameters]
    adam = torch.optim.Adam(twins, lr=0.1, betas=(0.9, 0.99))
    for parameter, twin in zip(parameters, twins, strict=True):
        parameter.grad = twin.grad = torch.linspace(-1, 2, parameter.numel()).view(parameter.shape)
    optimizer.step()
    adam.step()
    for parameter, twin in zip(parameters, twins, strict=True):
        torch.testing.assert_close(parameter, twin)
    kept = {key for state in optimizer.state.values() for key in state}
    assert kept == needs_of(optimizer) == {'step', 'exp_avg', 'exp_avg_sq'}
