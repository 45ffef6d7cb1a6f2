"""Losses as option files give them: declared in a method's ``Train``, with what they are and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic.config import JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from fsr_plugins.values import Block

#: Under which key a field keeps the labels of the networks that its loss needs.
_NEEDS = 'needs'


@dataclass(frozen=True)
class Loss:
    """A block of ``train`` that names a registered loss; fields of this type become modules, ``self.losses.<key>``.

    Declared in a method's ``Train``::

        pixel_opt: Loss = Loss.required('L1 to HR, Eq. 1')
        gan_opt: Loss | None = Loss.field('L_GAN, Eq. 2', needs='net_d')

    Attributes:
        block: ``type`` and the arguments of the registered class.
    """

    block: Block

    @classmethod
    def field(cls, description: str, *, needs: str | Sequence[str] = ()) -> Any:
        """A loss that an option file may leave out.

        Args:
            description: what it is, with its symbol and equation in the paper.
            needs: labels ``net_<x>`` of the networks without which it cannot be computed.
        """
        return Field(None, description=description, json_schema_extra={_NEEDS: _listed(needs)})

    @classmethod
    def required(cls, description: str, *, needs: str | Sequence[str] = ()) -> Any:
        """A loss that every option file must give; arguments as for :meth:`field`."""
        return Field(description=description, json_schema_extra={_NEEDS: _listed(needs)})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        block = core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema(), strict=True)
        return core_schema.no_info_after_validator_function(cls, block)


def _listed(needs: str | Sequence[str]) -> list[JsonValue]:
    return [needs] if isinstance(needs, str) else list(needs)


def loss_fields(options: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a method's ``Train`` that are losses, by key."""
    return {key: field for key, field in options.model_fields.items() if field.annotation in (Loss, Loss | None)}


def needed_networks(field: FieldInfo) -> list[str]:
    """The labels of the networks that a loss needs."""
    extra = field.json_schema_extra
    needs = extra.get(_NEEDS) if isinstance(extra, dict) else None
    return [str(label) for label in needs] if isinstance(needs, list) else []
