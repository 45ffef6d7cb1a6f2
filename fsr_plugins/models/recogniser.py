"""Training of a face recogniser as a classifier of people, and its measurement on faces of others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net, bare
from fsr_plugins.models.strategies import Recognition
from fsr_plugins.registry import MODEL_REGISTRY


def identities_of(model: FSRModel) -> Tensor:
    """The labels of a model's batch, (N,) int64.

    Raises:
        UserError: the batch has none.
    """
    if 'identity' not in model.batch:
        raise UserError(
            "The batch has no 'identity', which a recogniser is trained with: give 'datasets.train' "
            "'views: [identity]', and a store that holds identities."
        )
    return model.batch['identity']


def check_identities(dataset: Any, head: Any) -> None:
    """Compares the labels of a training set with the classes of a head.

    A label too high would only be found out by waiting for the device in every iteration, or end a GPU's process.

    Args:
        dataset: a set of faces with ``gt.identities`` and ``chosen``.
        head: has ``num_classes``.

    Raises:
        UserError: the set has no identities, or labels that are none of the head's.
    """
    identities = dataset.gt.identities
    if identities is None:
        raise UserError(f"The set '{dataset.name}' holds no identities, which a recogniser is trained with.")
    used = identities[dataset.chosen]
    lowest, highest = int(used.min()), int(used.max())
    if lowest < 0:
        raise UserError(f"The set '{dataset.name}' has the identity {lowest}: labels are counted from 0.")
    if highest >= head.num_classes:
        raise UserError(
            f"The set '{dataset.name}' has identities up to {highest}, and '{type(head).__name__}' has "
            f"{head.num_classes} classes: 'network_h.num_classes' must be at least {highest + 1}."
        )


@MODEL_REGISTRY.register()
class RecogniserModel(FSRModel):
    """A recogniser learns to tell the people of the training set apart (``L_FR`` of C-Face, Eq. 3).

    The head, one direction a person, is of use in training only. What is measured is the recogniser by itself.
    """

    networks = {'net_r': Net(result=True), 'net_h': Net(train_only=True)}
    net_r: nn.Module
    net_h: nn.Module
    evaluation = Recognition()

    class Train(TrainOptions):
        """The loss."""

        fr_opt: Loss = Loss.required('L_FR, Eq. 3, of the logits, the labels and the iteration')

    train_opt: Train

    def prepare_training(self) -> None:
        """Sees that recogniser and head fit.

        Raises:
            UserError: ``network_r`` is no recogniser, or ``network_h`` takes embeddings of another length.
        """
        if not isinstance(self.net_r, Recogniser):
            raise UserError(f"'network_r' is {type(self.net_r).__name__}, which is no recogniser: take SphereFace20 …")
        length = self.net_r.embedding_size
        if length != self.net_h.embedding_size:
            raise UserError(
                f"The embeddings of {type(self.net_r).__name__} have {length} numbers, and 'network_h' takes "
                f"{self.net_h.embedding_size}: set 'network_h.embedding_size: {length}'."
            )

    def check_data(self, dataset: Any) -> None:
        """See :meth:`FSRModel.check_data`: every person of the set must have a class."""
        check_identities(dataset, bare(self.net_h))

    def step(self) -> None:
        """Recogniser and head by the classification of HR faces."""
        labels = identities_of(self)
        with self.phase('net_r', 'net_h') as losses:
            logits = self.net_h(self.net_r(self.gt), labels)
            losses['l_fr'] = self.losses.fr_opt(logits, labels, self.current_iter)
        with torch.no_grad():
            self.log('accuracy', (logits.cosine.argmax(dim=1) == labels).float().mean())
