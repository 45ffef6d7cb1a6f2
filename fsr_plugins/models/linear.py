"""Ridge regression from LR to HR, solved from moments that are summed batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from fsr_plugins.archs.linear import LinearFace
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.errors import UserError, misfit
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.evaluation import Results
from fsr_plugins.models.networks import Net
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.values import State

#: The values' origin while they are summed: sums of squares stay small.
_MIDDLE = 0.5


@MODEL_REGISTRY.register()
class LinearModel(FSRModel):
    """The baselines ``ridge`` and, with ``rank: 0``, ``mean``: a :class:`LinearFace` that fits the training set.

    Minimises |HR − SR|² + λ|U D|² over matrices of the network's rank; λ is ``ridge`` times the mean variance of LR's
    values. Each iteration adds a batch to the moments; what is asked for is solved when it is validated or saved. So
    misalignments and other random changes of LR are seen as often as there are iterations.
    """

    networks = {'net_g': Net(result=True, solved=True)}
    net_g: LinearFace

    class Train(TrainOptions):
        """No loss and no optimiser: the solution is exact."""

        ridge: float = Field(1e-2, gt=0, description="regularisation, in parts of the mean variance of LR's values")

        @model_validator(mode='after')
        def _has_no_steps(self) -> Self:
            for key, field in TrainOptions.model_fields.items():
                if key != 'total_iter' and getattr(self, key) != field.default:
                    raise misfit(f"LinearModel averages all batches and takes no steps: leave out '{key}'")
            return self

    train_opt: Train

    def prepare_training(self) -> None:
        """Makes room for the moments.

        Raises:
            UserError: another network than LinearFace, or several processes.
        """
        if not isinstance(self.net_g, LinearFace):
            raise UserError(f'LinearModel fits a LinearFace, not a {type(self.net_g).__name__}.')
        if self.options.dist:
            raise UserError('LinearModel runs in one process: start it without a launcher.')
        inputs, outputs = self.net_g.mean_lq.numel(), self.net_g.mean_gt.numel()
        if self.net_g.rank == 0:
            inputs = 0
        double = {'dtype': torch.float64, 'device': self.device}
        self.moments: dict[str, Tensor] = {
            'count': torch.zeros((), **double),
            'lq': torch.zeros(inputs, **double),
            'gt': torch.zeros(outputs, **double),
            'lq_lq': torch.zeros(inputs, inputs, **double),
            'lq_gt': torch.zeros(inputs, outputs, device=self.device),
        }
        self._is_solved = False

    @torch.no_grad()
    def step(self) -> None:
        """Adds the batch to the moments.

        Raises:
            UserError: the batch is not of the network's size.
        """
        assert self.lq is not None and self.gt is not None
        net, moments = self.net_g, self.moments
        if self.lq.shape[1:] != net.lq_shape or self.gt.shape[1:] != net.gt_shape:
            raise UserError(
                f"'network_g' is for LR of {net.lq_shape} and HR of {net.gt_shape}, the images are "
                f'{tuple(self.lq.shape[1:])} and {tuple(self.gt.shape[1:])}.'
            )
        lq, gt = self.lq.flatten(1) - _MIDDLE, self.gt.flatten(1) - _MIDDLE
        moments['count'] += len(gt)
        moments['gt'] += gt.sum(dim=0, dtype=torch.float64)
        if net.rank:
            moments['lq'] += lq.sum(dim=0, dtype=torch.float64)
            exact = lq.double()
            moments['lq_lq'].addmm_(exact.t(), exact)
            moments['lq_gt'].addmm_(lq.t(), gt)
        self._is_solved = False

    @torch.no_grad()
    def solve(self) -> None:
        """Brings the solution of all batches so far into the network; again only if there was another batch.

        By Cholesky's factor L of the regularised covariance, W = L⁻ᵀ B with B = L⁻¹ C_xy. The best matrix of rank r is
        L⁻ᵀ Q Qᵀ B, where Q are the r first eigenvectors of B Bᵀ (reduced-rank regression, Izenman 1975).
        """
        if self._is_solved:
            return
        net, count = self.net_g, self.moments['count']
        mean_lq, mean_gt = self.moments['lq'] / count, self.moments['gt'] / count
        net.mean_gt.copy_(mean_gt + _MIDDLE)
        if net.rank:
            net.mean_lq.copy_(mean_lq + _MIDDLE)
            covariance = self.moments['lq_lq'] / count - torch.outer(mean_lq, mean_lq)
            shrinkage = self.train_opt.ridge * covariance.diagonal().mean().clamp(min=1e-12)
            covariance.diagonal().add_(shrinkage)
            factor = torch.linalg.cholesky(covariance)
            cross = self.moments['lq_gt'] / count.float() - torch.outer(mean_lq, mean_gt).float()
            whitened = torch.linalg.solve_triangular(factor.float(), cross, upper=False)
            _, vectors = torch.linalg.eigh((whitened @ whitened.t()).double())
            first = vectors[:, -net.rank :]
            net.down.copy_(torch.linalg.solve_triangular(factor.t(), first, upper=True).t())
            net.up.copy_(whitened.t() @ first.float())
        self._is_solved = True

    def validate(self, loader: EvalLoader, save_to: Path | None = None, suffix: str = '') -> Results:
        """As :meth:`FSRModel.validate`, of the solution so far."""
        if self.is_train:
            self.solve()
        return super().validate(loader, save_to, suffix)

    def save_networks(self, suffix: str) -> dict[str, Path]:
        """As :meth:`FSRModel.save_networks`, the solution so far."""
        self.solve()
        return super().save_networks(suffix)

    def training_state(self) -> State:
        """As :meth:`FSRModel.training_state`, with the moments."""
        return {**super().training_state(), 'moments': self.moments}

    def check_training_state(self, state: State) -> None:
        """As :meth:`FSRModel.check_training_state`; moments of other sizes are refused."""
        super().check_training_state(state)
        kept = state.get('moments')
        if not isinstance(kept, Mapping) or kept.keys() != self.moments.keys():
            raise UserError('it has no moments')
        for name, moment in self.moments.items():
            if not isinstance(kept[name], Tensor) or kept[name].shape != moment.shape:
                raise UserError(f'its moment {name} is of another size')

    def load_training_state(self, state: State) -> None:
        """As :meth:`FSRModel.load_training_state`, with the moments."""
        super().load_training_state(state)
        for name, moment in self.moments.items():
            moment.copy_(state['moments'][name])
        self._is_solved = False
