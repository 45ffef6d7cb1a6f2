"""Whether a stage's validation is one that its model can have."""

from __future__ import annotations

from fsr_plugins.config.declared import DeclaredModel
from fsr_plugins.config.problems import Problems
from fsr_plugins.errors import UserError
from fsr_plugins.registry import lookup
from fsr_plugins.values import Options


def check_evaluation(model: DeclaredModel, opt: Options, problems: Problems) -> None:
    """Checks ``val`` against what the model can be measured by.

    A generator's faces are nobody's: metrics that compare each image with another one of its own have no meaning there.
    """
    evaluation, val = getattr(model, 'evaluation', None), opt.get('val')
    if evaluation is None or val is None:
        return
    if evaluation.refusal is not None:
        problems.add(('val',), f'is not possible: {evaluation.refusal}')
    metrics = val.get('metrics') if isinstance(val, dict) else None
    if evaluation.has_pairs or not isinstance(metrics, dict):
        return
    for name, block in metrics.items():
        if _compares(block):
            problems.add(
                ('val', 'metrics', name),
                f'compares each image with another one of its own, and the faces that {model.__name__} makes are '
                "nobody's: take FID, FrechetDistance or NIQE, or set 'val: null' in this stage.",
            )


def _compares(block: object) -> bool:
    """Whether a metric compares each image with another one of its own; what is no metric is said elsewhere."""
    try:
        metric = lookup('metrics', block['type']) if isinstance(block, dict) else None
    except (UserError, KeyError, TypeError):
        return False
    return bool(getattr(metric, 'by_image', False))
