"""What losses have in common that look at images through a trained network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Self

Network = TypeVar('Network', bound=nn.Module)


class LossByNetwork(nn.Module, Generic[Network]):
    """A loss with a frozen network that is no submodule: neither among its parameters nor in its state dict.

    It goes along to another device or type.
    """

    def __init__(self, net: Network) -> None:
        """
        Args:
            net: the network, already frozen.
        """
        super().__init__()
        # In a tuple, where nn.Module does not find it.
        self._held = (net,)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._held[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)
