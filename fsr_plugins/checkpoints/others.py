"""Networks of other programs: the package ``spandrel`` knows them by the names and shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from torch import Tensor, nn

from fsr_plugins.checkpoints.building import Modest, bounded, reason_of
from fsr_plugins.checkpoints.layout import StateDict, unwrapped
from fsr_plugins.errors import UserError

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

    from fsr_plugins.checkpoints.meta_types import Meta

#: The package, and the one with archs whose licences it keeps apart (CodeFormer, for one).
PACKAGE, EXTRA = 'spandrel', 'spandrel_extra_arches'
#: What the type of such a network begins with in ``meta``; no registered arch has a colon in its name.
PREFIX = f'{PACKAGE}:'
#: Keys under which other programs keep a state dict, beyond those of the toolkit's own layouts.
HOLDERS = ('params-ema', 'model_state_dict', 'model', 'net')
#: Side of the faces that GFPGAN, RestoreFormer and CodeFormer take; their files do not say it.
_FACE = 512
#: Whole numbers in the names of tensors count layers: the largest, beyond the file's tensors and for each.
_NUMBER, _NUMBERS = 256, 8
_DIGITS = re.compile(r'(?<=\.)\d+(?=\.|$)')


class OthersNetwork(nn.Module):
    """A network as its descriptor calls it: padded to the sizes it takes, in its own range, clamped to [0, 1].

    Args:
        descriptor: what ``spandrel`` says of it; ``net`` is its module.

    Shape: (N, 3, h, w) RGB in [0, 1] to (N, 3, scale * h, scale * w).
    """

    #: Images of any size are padded by the descriptor; its module may be made for one layout in memory alone.
    pads, any_layout = True, False
    meta: Meta

    def __init__(self, descriptor: ImageModelDescriptor[nn.Module]) -> None:
        super().__init__()
        self.net = descriptor.model
        self.scale = descriptor.scale
        self.descriptor = descriptor

    def forward(self, lq: Tensor) -> Tensor:
        """See the class."""
        return self.descriptor(lq)


def is_known_to_others() -> bool:
    """Whether the package is installed that knows other programs' networks."""
    return find_spec(PACKAGE) is not None


def package_versions(arch: str | None) -> dict[str, str]:
    """The versions of the packages that hold a network's code, by name; empty for one of this toolkit's archs.

    Args:
        arch: ``type`` of the network, as in ``meta``.
    """
    if arch is None or not arch.startswith(PREFIX):
        return {}
    return {name: version(name) for name in (PACKAGE, EXTRA) if find_spec(name) is not None}


def others_network(state: Mapping[str, Tensor], source: str) -> OthersNetwork | None:
    """The network of a state dict, in evaluation mode, frozen, with ``meta``; None where no known network has these.

    Its scale and sizes are as spandrel says. A face network takes faces of 512×512, aligned as FFHQ's.

    Args:
        state: finite tensors; prefixes of torch's wrappers are cut off.
        source: how messages call the file.

    Raises:
        UserError: it begins as a known network and is none, is far larger than its file, takes a mask, or is not for
            RGB.
    """
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    names = unwrapped(state)
    _check_names(names, source)
    _install_extra()
    try:
        with bounded(names), Modest(names):
            found = ModelLoader().load_from_state_dict(dict(names))
    except UnsupportedModelError:
        return None
    except Exception as error:  # an arch in another package, given tensors of any names and shapes
        raise UserError(
            f'{source} looks like a network that spandrel knows, but does not fit it: {reason_of(error)}. It is '
            'damaged, or of another version of that network.'
        ) from error
    arch = found.architecture
    if not isinstance(found, ImageModelDescriptor):
        raise UserError(f'{source} holds {arch.name}, which takes a mask beside the image: give another network.')
    if (found.input_channels, found.output_channels) != (3, 3):
        raise UserError(
            f'{source} holds {arch.name} from {found.input_channels} channels to {found.output_channels}: a network '
            'from RGB to RGB is needed.'
        )
    net = OthersNetwork(found)
    net.meta = _meta(found)
    net.eval().requires_grad_(False)
    return net


def _meta(found: ImageModelDescriptor[nn.Module]) -> Meta:
    """What is known of a network, as a checkpoint of this toolkit says it."""
    about: Meta = {
        'format': 1,
        'arch': {'type': f'{PREFIX}{found.architecture.id}'},
        'scale': found.scale,
        'range': (0.0, 1.0),
        'channels': 'RGB',
        'versions': package_versions(PREFIX),
    }
    if found.purpose == 'FaceSR':
        side = _FACE * found.scale
        about |= {'manifests': {'train': [{'size': (side, side)}]}, 'aligned': 'ffhq'}
    return about


def _check_names(names: StateDict, source: str) -> None:
    """Refuses names whose numbers would make a network of more layers than the file can hold."""
    most = _NUMBER + _NUMBERS * len(names)
    for name in names:
        if any(len(digits) > 9 or int(digits) > most for digits in _DIGITS.findall(name)):
            raise UserError(
                f'{source} holds no network: {name[:80]!r} counts more layers than its {len(names)} tensors make.'
            )


def _install_extra() -> None:
    """Makes the further archs known, where they are installed."""
    if find_spec(EXTRA) is not None:
        import spandrel_extra_arches

        spandrel_extra_arches.install(ignore_duplicates=True)
