"""Muon for matrices and convolutions, Adam for all else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from fsr_plugins.errors import UserError
from fsr_plugins.number_formats import computes_bf16

#: The quintic whose iteration brings singular values near to 1 soonest, and the number of its rounds (Jordan et al.).
_QUINTIC, _ROUNDS = (3.4445, -4.7750, 2.0315), 5
#: The root mean square of an orthogonalised update over that of Adam's, which then take one rate (Liu et al.).
_LIKE_ADAM = 0.2


class MuonAdam(Optimizer):
    """Muon (Jordan et al., 2024) for all that is a matrix, Adam (Kingma and Ba, ICLR 2015) for biases and the like.

    A kernel (out, in, h, w) is a matrix of ``out`` rows. Its averaged gradient is brought near to the nearest matrix
    with orthonormal rows or columns, so that every direction is learnt at one pace. The update's size is
    that of Adam, by which one rate serves both (Liu et al.: "Muon is scalable for LLM training", 2025, eq. 4).

    Args:
        lr: of both.
        momentum: of Muon's average, Nesterov's.
        betas: of Adam's averages.
        eps: added to Adam's divisor.
        weight_decay: decoupled, times the rate.

    Raises:
        UserError: a negative rate, or a share that is none.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: Sequence[float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if len(betas) != 2 or not all(0 <= share < 1 for share in (momentum, *betas)):
            raise UserError(f"MuonAdam: 'momentum' {momentum} and 'betas' {list(betas)} are shares below 1.")
        if not (lr >= 0 and eps > 0 and weight_decay >= 0):
            raise UserError("MuonAdam: 'lr' and 'weight_decay' are not below 0, and 'eps' is above it.")
        defaults = {
            'lr': lr,
            'momentum': momentum,
            'betas': tuple(betas),
            'eps': eps,
            'weight_decay': weight_decay,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learnt = [parameter for parameter in group['params'] if parameter.grad is not None]
            if group['weight_decay'] and learnt:
                torch._foreach_mul_(learnt, 1 - group['lr'] * group['weight_decay'])
            alike: dict[object, list[Tensor]] = {}
            for parameter in learnt:
                if is_matrix(parameter):
                    kind = parameter.shape, parameter.stride(), parameter.dtype, parameter.device
                    alike.setdefault(kind, []).append(parameter)
            for matrices in alike.values():
                self._muon(matrices, group)
            vectors = [parameter for parameter in learnt if not is_matrix(parameter)]
            if vectors:
                self._adam(vectors, group)
        return loss

    def _muon(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """Parameters of one shape, all at once."""
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]['momentum'] = torch.zeros_like(matrix)
        means = [self.state[matrix]['momentum'] for matrix in matrices]
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        torch._foreach_lerp_(means, gradients, 1 - group['momentum'])
        ahead = torch._foreach_lerp(gradients, means, group['momentum'])
        # In the memory's order, where that is another, nothing need be moved. The order of a matrix's columns changes
        # no singular value, and once they are back in their places no singular vector.
        order = (0, 2, 3, 1) if matrices[0].ndim == 4 and not matrices[0].is_contiguous() else range(matrices[0].ndim)
        shape = [len(matrices), *(matrices[0].shape[axis] for axis in order)]
        stacked = torch.stack([each.permute(*order) for each in ahead]).reshape(len(matrices), *_sides(matrices[0]))
        rate = _LIKE_ADAM * max(stacked.shape[1:]) ** 0.5 * group['lr']
        back = (0, 3, 1, 2) if order == (0, 2, 3, 1) else order
        updates = [update.permute(*back) for update in orthogonalised(stacked).reshape(shape).unbind()]
        torch._foreach_add_(matrices, updates, alpha=-rate)

    def _adam(self, vectors: list[Tensor], group: dict[str, Any]) -> None:
        for vector in vectors:
            if not self.state[vector]:
                # As torch's own optimisers: their steps are tensors, which a file of plain weights keeps.
                self.state[vector].update(
                    step=torch.tensor(0.0), exp_avg=torch.zeros_like(vector), exp_avg_sq=torch.zeros_like(vector)
                )
        states = [self.state[vector] for vector in vectors]
        gradients = [vector.grad for vector in vectors if vector.grad is not None]
        first, second = group['betas']
        means, squares = [each['exp_avg'] for each in states], [each['exp_avg_sq'] for each in states]
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        steps = [each['step'] for each in states]
        torch._foreach_add_(steps, 1)
        counts = [step.item() for step in steps]
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_div_(divisors, [(1 - second**count) ** 0.5 for count in counts])
        torch._foreach_add_(divisors, group['eps'])
        torch._foreach_addcdiv_(vectors, means, divisors, [-group['lr'] / (1 - first**count) for count in counts])


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter has more than one row and more than one column."""
    return min(_sides(parameter)) > 1


def _sides(parameter: Tensor) -> tuple[int, int]:
    """Rows and columns: (out, in, …) has ``out`` rows, and so has (1, out, in, h, w), StyleGAN2's kernel."""
    shape = parameter.shape
    if len(shape) in (3, 5) and shape[0] == 1:
        shape = shape[1:]
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (parameter.numel(), 1)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices whose singular values are brought near to 1 (0.7 to 1.2), while their singular vectors stay.

    Newton and Schulz's iteration with Jordan's quintic, in bf16 where the device computes it; on the CPUs of
    several processes in float32, that all come to the same.

    Args:
        matrices: (N, rows, columns), float. A matrix of zeros stays one.

    Returns:
        float32 (N, rows, columns).
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    coarse = computes_bf16(x.device) and (x.is_cuda or not several)
    x = x.bfloat16() if coarse else x.float()
    a, b, c = _QUINTIC
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.mT).float()
