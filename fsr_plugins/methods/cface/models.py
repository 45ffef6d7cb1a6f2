"""C-Face's training (Sec. 3, Algorithm 1). Equation numbers are the paper's.

Step 1 is :class:`CFaceGANModel`, step 2 :class:`~fsr_plugins.models.set_generation.SuperResolveModel`, step 3
:class:`~fsr_plugins.models.recogniser.RecogniserModel`, step 4 :class:`CFaceJointModel`.

A batch holds ``gt``, HR faces; ``compare_gt`` and ``has_compare``, another face of each person where there is one
(``CompareFaceDataset``); and for step 4 ``identity``, the numbers of the people (the view of that name).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from fsr_plugins.config.losses import Loss
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.recogniser import Align
from fsr_plugins.models.embedding import Embedder
from fsr_plugins.models.gan import GANModel
from fsr_plugins.models.networks import Net, bare
from fsr_plugins.models.recogniser import check_identities, identities_of
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.values import State


@MODEL_REGISTRY.register()
class CFaceGANModel(GANModel):
    """Step 1: N^SR and N^D by Eq. 7, with the embeddings of a frozen CNN^R; its result is C-Face-v1.

    Without compare faces L_SI (Eq. 4) is left of L_CF: the control.
    """

    networks = {**GANModel.networks, 'net_r': Net(frozen=True, optional=True, train_only=True)}
    net_r: nn.Module

    class Train(GANModel.Train):
        """The terms of Eq. 7, each with its weight in its block: one left out is off. Eq. 7 has no pixel loss."""

        gan_opt: Loss | None = Loss.field('L_GAN, Eq. 1, alpha', needs='net_d')
        content_opt: Loss | None = Loss.field('L_P, Eq. 2, beta')
        cface_opt: Loss | None = Loss.field('L_CF, Eq. 5 and 6: a CompareFaceLoss', needs='net_r')
        use_compare: bool = Field(True, description='false: no compare faces; L_CF becomes L_SI')
        align: Align = Field('none', description="landmarks: CNN^R sees faces aligned by HR's points")
        subtract_mean: bool = Field(False, description="angles of L_SI are relative to HR's mean embedding")
        suggested_loss = 'content_opt'

    train_opt: Train

    def prepare_training(self) -> None:
        """See :meth:`FSRModel.prepare_training`."""
        self.embedder = Embedder(self.train_opt.align, self.train_opt.subtract_mean)

    def check_data(self, dataset: Any) -> None:
        """See :meth:`FSRModel.check_data`; faces that shall be aligned have known points."""
        self.embedder.check(dataset)

    def generator_losses(self, sr: Tensor) -> dict[str, Tensor]:
        """What N^SR learns by: see :meth:`GANModel.generator_losses`, ``l_content`` and ``l_cface``."""
        losses = super().generator_losses(sr)
        if 'content_opt' in self.losses:
            losses['l_content'] = self.losses.content_opt(sr, self.gt)
        if 'cface_opt' in self.losses:
            losses['l_cface'] = self.identity_loss(sr)
        return losses

    def identity_loss(self, sr: Tensor) -> Tensor:
        """L_CF of these images (Eq. 6)."""
        assert self.gt is not None
        net_r = bare(self.net_r)
        faces, points = [self.gt], ['landmarks']
        if self.train_opt.use_compare:
            faces.append(self.compare_faces())
            points.append('compare_landmarks')
        with torch.no_grad():
            references = self.embed(net_r, torch.cat(faces), *points).chunk(len(faces))
        hr, sr, *compare = self.embedder.relative(references[0], self.embed(net_r, sr, 'landmarks'), *references[1:])
        has_compare = self.batch.get('has_compare') if compare else None
        return self.losses.cface_opt(sr, hr, *compare, has_compare=has_compare)

    def embed(self, net: nn.Module, images: Tensor, *points: str) -> Tensor:
        """CNN^R's embeddings (N, D) of images (N, 3, H, W), aligned by these points of the batch if they shall be."""
        return self.embedder.embed(net, images, self.batch, *points)

    def compare_faces(self) -> Tensor:
        """I_C of the batch, (N, 3, H, W).

        Raises:
            UserError: the batch has none.
        """
        if 'compare_gt' not in self.batch:
            raise UserError(
                "The batch has no compare faces, which 'train.cface_opt' needs: take CompareFaceDataset for "
                "'datasets.train', or set 'train.use_compare: false'."
            )
        return self.batch['compare_gt']

    def training_state(self) -> State:
        """See :meth:`FSRModel.training_state`; with the mean embedding."""
        return {**super().training_state(), **self.embedder.state()}

    def check_training_state(self, state: State) -> None:
        """See :meth:`FSRModel.check_training_state`."""
        super().check_training_state(state)
        Embedder(subtract_mean=self.train_opt.subtract_mean).load(state, self.device)

    def load_training_state(self, state: State) -> None:
        """Puts :meth:`training_state` back."""
        super().load_training_state(state)
        self.embedder.load(state, self.device)


@MODEL_REGISTRY.register()
class CFaceJointModel(CFaceGANModel):
    """Step 4: as step 1, and in each iteration CNN^R learns from HR and SR by L_FR (Eq. 3); L_CF never trains it."""

    networks = {**CFaceGANModel.networks, 'net_r': Net(train_only=True), 'net_h': Net(train_only=True)}
    net_h: nn.Module

    class Train(CFaceGANModel.Train):
        """Those of step 1, and L_FR."""

        fr_opt: Loss = Loss.required('L_FR, Eq. 3: an ASoftmaxLoss')

    train_opt: Train

    def check_data(self, dataset: Any) -> None:
        """Sees that the head knows all people of the training set.

        Raises:
            UserError: the set has no identities, or more than the head has classes; or as step 1.
        """
        super().check_data(dataset)
        check_identities(dataset, bare(self.net_h))

    def step(self) -> None:
        """N^SR, N^D, then CNN^R, on the same images."""
        # To N^SR and N^D the recogniser is fixed: the statistics of its normalisation layers must not move either.
        bare(self.net_r).eval()
        sr = self.train_generator() if self.generator_learns() else self.generate()
        self.train_discriminator(sr)
        bare(self.net_r).train()
        self.train_recogniser(sr)

    def train_recogniser(self, sr: Tensor) -> None:
        """One step of CNN^R and its head by L_FR on HR and these images together, a person's label for both."""
        assert self.gt is not None
        labels = identities_of(self).repeat(2)
        with self.phase('net_r', 'net_h') as losses, torch.autocast(self.device.type, enabled=False):
            logits = self.net_h(self.embed(self.net_r, torch.cat([self.gt, sr]), 'landmarks', 'landmarks'), labels)
            losses['l_fr'] = self.losses.fr_opt(logits, labels, self.current_iter)
