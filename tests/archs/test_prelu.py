"""PReLU against torch's: values, gradients of input and slopes, number formats; where it is torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.archs.prelu import PReLU, _PReLU


def pair(slopes: int, dtype: torch.dtype = torch.float32) -> tuple[nn.PReLU, nn.PReLU]:
    numbers = torch.Generator().manual_seed(0)
    theirs = nn.PReLU(slopes)
    with torch.no_grad():
        theirs.weight.copy_(torch.rand(slopes, generator=numbers) - 0.3)
    ours = PReLU(slopes)
    ours.load_state_dict(theirs.state_dict())
    return ours.to(dtype), theirs.to(dtype)


def drawn(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(1)
    x, grad = (torch.randn(shape, generator=numbers).to(dtype) for _ in range(2))
    x.view(-1)[:3] = 0  # where the gradient is not defined
    return x, grad


def learned(net: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    out = net(x)
    out.backward(grad.to(out.dtype))
    assert x.grad is not None
    return [out.detach(), x.grad, next(net.parameters()).grad]  # type: ignore[list-item]


@pytest.mark.parametrize('slopes', [1, 6])
@pytest.mark.parametrize('shape', [(3, 6, 5, 4), (3, 6), (2, 6, 7)])
def test_values_and_gradients_are_torchs(slopes: int, shape: tuple[int, ...]) -> None:
    x, grad = drawn(shape, torch.bfloat16)
    results = [learned(net, x, grad) for net in pair(slopes, torch.bfloat16)]
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(results[0][1], results[1][1])


def test_mixed_precision_is_torchs() -> None:
    x, grad = drawn((3, 6, 5, 4))
    with torch.autocast('cpu', torch.bfloat16):
        results = [learned(net, x, grad) for net in pair(6)]
    assert results[0][0].dtype == torch.bfloat16
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_second_derivatives_are_right() -> None:
    x = drawn((2, 6, 3, 3))[0].double().add_(0.01).requires_grad_()
    weight = pair(6)[0].weight.detach().double().requires_grad_()
    call = _PReLU.apply
    assert torch.autograd.gradcheck(call, (x, weight)) and torch.autograd.gradgradcheck(call, (x, weight))


@pytest.mark.parametrize('frozen', ['input', 'slopes'])
def test_what_is_frozen_gets_no_gradient(frozen: str) -> None:
    net, x = pair(6, torch.bfloat16)[0], drawn((2, 6, 3, 3), torch.bfloat16)[0].requires_grad_(frozen == 'slopes')
    net.requires_grad_(frozen == 'input')
    net(x).sum().backward()
    assert (x.grad is None) == (frozen == 'input') and (net.weight.grad is None) == (frozen == 'slopes')


def test_it_is_torchs_own_in_fp32_without_gradients_and_where_a_graph_is_exported() -> None:
    net, x = pair(6, torch.bfloat16)[0], drawn((2, 6, 3, 3), torch.bfloat16)[0]
    assert '_PReLU' not in type(pair(6)[0](x.float()).grad_fn).__name__
    with torch.no_grad():
        assert net(x).grad_fn is None
    assert '_PReLU' in type(net(x).grad_fn).__name__
    nodes = {node.target for node in torch.export.export(net, (x,)).graph.nodes}
    assert torch.ops.aten.prelu.default in nodes
