"""Every option file of the project names what exists, with arguments it takes; data and weights are not looked for."""

from __future__ import annotations

import pytest
from option_files import OPTIONS, stages

from fsr_plugins.models import SetGeneration
from fsr_plugins.registry import MODEL_REGISTRY

#: Suites are no experiments: tests/bench looks at them.
APART = ('_base_', 'bench')
FILES = sorted(
    str(path.relative_to(OPTIONS))
    for path in OPTIONS.rglob('*.yml')
    if not set(APART) & set(path.relative_to(OPTIONS).parts)
)


@pytest.mark.parametrize('file', FILES)
def test_it_is_accepted_and_every_stage_has_a_model_and_an_end(file: str) -> None:
    for opt in stages(file).values():
        produces = issubclass(MODEL_REGISTRY.get(opt['model_type']), SetGeneration)
        assert produces or opt['train']['total_iter'] > 0


@pytest.mark.parametrize('file', [file for file in FILES if 'tsnet' in file])
def test_tsnets_files_measure_what_needs_no_reference(file: str) -> None:
    """What a method for real LR promises is how faces look, and NIQE needs no weights."""
    measured = [opt['val']['metrics'] for opt in stages(file).values() if opt.get('val')]
    assert measured and all({'type': 'NIQE'} in metrics.values() for metrics in measured)
