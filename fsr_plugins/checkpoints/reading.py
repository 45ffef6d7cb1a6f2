"""Reading weight files: tensors and plain values only, never code."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fsr_plugins.checkpoints.layout import HOLDERS, PARAMS, StateDict, state_in
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)


def load_state(path: str | Path) -> Any:
    """Reads a checkpoint to the CPU with ``weights_only=True``: code in it is refused, not run.

    Raises:
        UserError: the file is absent, truncated, not a checkpoint, or holds more than tensors and plain values.
    """
    try:
        if Path(path).suffix == '.safetensors':
            return load_file(path)
        return torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"There is no weight file '{path}'.") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"'{path}' is no checkpoint of tensors and plain values (it was not run); give one saved as a state dict."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"'{path}' is no checkpoint, or it is cut short ({reason}); fetch it again.") from error


def read_weights(path: str | Path, param_key: str | None = PARAMS) -> StateDict:
    """The state dict in a checkpoint of BasicSR's or another known layout, or a bare state dict.

    Args:
        param_key: ``params`` or ``params_ema``; where the file has no such key, the next known one is used.

    Raises:
        UserError: the file is missing, damaged or holds no state dict.
    """
    content = load_state(path)
    holders = (param_key, *(key for key in HOLDERS if key != param_key)) if param_key else HOLDERS
    state = state_in(content, f"'{path}'", holders)
    found = next((key for key in holders if isinstance(content, dict) and key in content), None)
    if param_key and found not in (None, param_key):
        logger.info("%s has no '%s': using '%s'.", path, param_key, found)
    return state
