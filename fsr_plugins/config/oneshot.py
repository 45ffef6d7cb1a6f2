"""The block ``oneshot`` of an option file: which stages are repeated, and with which exemplars."""

from __future__ import annotations

import re
from collections.abc import Collection

from pydantic import Field, field_validator

from fsr_plugins.config.options import Seed, StrictOptions
from fsr_plugins.config.problems import Problems
from fsr_plugins.errors import shown
from fsr_plugins.registry import near

#: The block's key at the top level of an option file.
ONESHOT = 'oneshot'


class OneShotOptions(StrictOptions):
    """``oneshot``: it says nothing to ``fsr train``; see :mod:`fsr_plugins.adaptation.oneshot`."""

    stages: list[str] = Field(['adapt'], min_length=1, description='repeated for every exemplar')
    splits: dict[str, list[str]] = Field(
        {'all': ['*']}, min_length=1, description='parts of the target set by patterns on its keys'
    )
    exemplars: int = Field(10, ge=1, description='drawn in each split, one a repeat; all where there are fewer')
    seed: Seed = Field(0, description='of the draw')
    set: str | None = Field(None, description="the target: a 'val_…' of 'datasets'; none: the first")
    keep_networks: bool = Field(True, description='keep the differences of each adapted network from the source')

    @field_validator('splits')
    @classmethod
    def _plain_names(cls, splits: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, patterns in splits.items():
            if not re.fullmatch(r'[\w.+-]*\w[\w.+-]*', name):  # a folder is called so
                raise ValueError(f"splits named by letters, digits, '.', '_', '+' and '-', which '{name}' is not")
            if not patterns:
                raise ValueError(f"lists of patterns such as '*_0001'; that of '{name}' is empty")
        return splits

    @field_validator('stages')
    @classmethod
    def _each_once(cls, stages: list[str]) -> list[str]:
        if len(set(stages)) < len(stages):
            raise ValueError('stages named once each')
        return stages


def check_oneshot(block: object, stages: Collection[str], problems: Problems) -> OneShotOptions:
    """The block as options; the defaults if there is none, or after noting what is wrong with it.

    Args:
        block: what stands under ``oneshot``, or None.
        stages: the names of the file's stages.
    """
    defaults = OneShotOptions.model_validate({})
    if block is None:
        return defaults
    if not isinstance(block, dict):
        problems.add(
            (ONESHOT,), f"is {shown(block)}, but must be a mapping such as '{{stages: [adapt], exemplars: 10}}'."
        )
        return defaults
    options: OneShotOptions | None = problems.validate(OneShotOptions, block, (ONESHOT,), set(), f"'{ONESHOT}'")
    for name in options.stages if options is not None else ():
        if name not in stages:
            there = ', '.join(stages)
            problems.add((ONESHOT, 'stages'), f"names '{name}': no stage is (there are: {there}).{near(name, stages)}")
    return options or defaults
