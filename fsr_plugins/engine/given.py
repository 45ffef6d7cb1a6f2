"""Networks that an option file names the weights of: measured without an experiment that trained them."""

from __future__ import annotations

import logging

from fsr_plugins import config
from fsr_plugins.config import Stage
from fsr_plugins.engine.distributed import World
from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.values import Options

logger = logging.getLogger(__name__)


def given_model(stage: Stage, world: World) -> FSRModel:
    """The stage's model for testing, with the weights that ``path`` names.

    Raises:
        UserError: weights are not there or do not fit.
    """
    for network in stage.networks.values():
        if network.weights is None and not stage.declared[network.label].train_only:
            logger.warning(
                "%s has no weights ('path.%s'): random ones are measured.", network.label, network.weights_key
            )
    return tested_model(stage, config.runtime(stage, rank=world.rank, world_size=world.size, is_train=False))


def tested_model(stage: Stage, opt: Options) -> FSRModel:
    """The stage's model for testing by these run-time options.

    Raises:
        UserError: weights are not there or do not fit; with the place of their key.
    """
    try:
        model: FSRModel = stage.model(opt)
    except UserError as error:
        for network in stage.networks.values():
            if str(error).startswith(f"key 'path.{network.weights_key}'"):
                raise UserError(f'{stage.where(("path", network.weights_key))}: {error}') from error
        raise
    return model
