"""The option ``compile``: torch's modes, what stays as it is, validation without compiling, where a step begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import tiny
import torch
from torch import Tensor, nn

from fsr_plugins.models import SupervisedModel
from fsr_plugins.models.compilation import MODES, Compilation


class Double(nn.Module):
    """Not one of torch's own, which are never compiled alone."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_the_modes_are_torchs() -> None:
    assert set(MODES) <= set(torch._inductor.list_mode_options())
    assert [Compilation(choice).mode for choice in (True, False, 'max-autotune')] == ['default', None, 'max-autotune']


@pytest.mark.parametrize(
    ('choice', 'twice', 'compiled'), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_what_is_differentiated_twice_is_not_compiled(choice: bool, twice: bool, compiled: bool) -> None:
    net = nn.Linear(1, 1)
    Compilation(choice).apply('net_g', net, twice)
    assert (net._compiled_call_impl is not None) == compiled


def test_inside_eager_nothing_is_compiled() -> None:
    runs = []

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            runs.append(arguments)
            return graph(*arguments)

        return run

    net, compilation = Double(), Compilation(True)
    net.compile(backend=backend)
    with compilation.eager():
        net(torch.ones(2, 1))
    assert not runs
    net(torch.ones(2, 1))
    assert len(runs) == 1


@pytest.mark.parametrize(('mode', 'begun'), [('reduce-overhead', [1, 3, 5]), (True, []), (False, [])])
def test_a_step_begins_after_each_of_the_optimiser(mode: bool | str, begun: list[int]) -> None:
    opt = tiny.options() | {'is_train': True, 'dist': False, 'rank': 0, 'path': {}, 'compile': mode}
    opt['train']['accumulate'] = 2
    at: list[int] = []
    with mock.patch.object(nn.Module, 'compile'):  # the networks run as they are: this is not of what torch makes
        model = SupervisedModel(opt)
    with mock.patch('torch.compiler.cudagraph_mark_step_begin', side_effect=lambda: at.append(model.current_iter + 1)):
        for iteration in range(1, 6):
            model.feed_data({'gt': torch.zeros(1, 16, 16, 3, dtype=torch.uint8), 'gt_path': ['a']})
            model.optimize_parameters(iteration)
    assert at == begun
