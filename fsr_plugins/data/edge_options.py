"""What an option file may say about the edge maps of a dataset."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from fsr_plugins.edges import Adaptive


def _known_or_two(value: object) -> object:
    if value in ('mean_std', 'otsu'):
        return value
    numbers = isinstance(value, list) and all(type(entry) in (int, float) for entry in value)
    if isinstance(value, list) and numbers and len(value) == 2 and 0 <= value[0] <= value[1]:
        return value
    raise ValueError("'mean_std', 'otsu' or [low, high] with 0 <= low <= high")


#: Of Canny's edges: each image's own, or two on the scale of 255.
Thresholds = Annotated[Adaptive | list[float], BeforeValidator(_known_or_two)]


class CannyOptions(BaseModel):
    """Keys of the block ``canny``: what edge maps the view of that name holds."""

    model_config = ConfigDict(extra='forbid', strict=True)

    thresholds: Thresholds = Field(
        default='mean_std', description="each image's own, as in edges.canny_image, or [low, high] on the scale of 255"
    )
    scales: list[int] = Field(default=[1, 2, 4], description='factors the image is reduced by before, one map each')

    @field_validator('scales')
    @classmethod
    def _each_once(cls, value: list[int]) -> list[int]:
        if not value or min(value) < 1 or len(set(value)) < len(value):
            raise ValueError('whole numbers from 1, each once')
        return value

    @property
    def step(self) -> int:
        """What the sides of an image must be multiples of."""
        return math.lcm(*self.scales)
