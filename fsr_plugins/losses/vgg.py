"""VGG's layers by their names, with the weights that torchvision publishes for ImageNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR
from fsr_plugins.checkpoints import read_weights, unwrapped
from fsr_plugins.errors import UserError
from fsr_plugins.registry import near

from basicsr.archs.vgg_arch import NAMES  # isort: skip

#: What torchvision's ImageNet weights expect of RGB images in [0, 1].
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG(nn.Sequential):
    """VGG up to the last layer wanted; the layers are its submodules ``conv1_1``, ``relu1_1`` … ``pool5``.

    The names are BasicSR's, those of the VGG paper.

    Shape: (N, 3, H, W) RGB float in [0, 1], which is normalised, to the last layer's (N, C, H', W').
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: str | Path, layers: Sequence[str], vgg_type: str = 'vgg19') -> None:
        """
        Args:
            path: torchvision's state dict of the network; the classifier in it is not looked at.
            layers: names of layers, in any order.
            vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.

        Raises:
            UserError: no such network or layer; a file that is absent or of another network.
        """
        import torchvision  # here, for it takes long

        for layer in layers:
            check_layer(layer, vgg_type, 'VGG')
        names = NAMES[vgg_type][: max(NAMES[vgg_type].index(layer) for layer in layers) + 1]
        with torch.device('meta'):  # no time for numbers that the file replaces
            features = torchvision.models.get_model(vgg_type, weights=None).features[: len(names)]
        published = unwrapped(read_weights(path, None))
        try:
            state = {name: published[f'features.{name}'].float() for name in features.state_dict()}
            features.load_state_dict(state, assign=True)
        except (KeyError, RuntimeError) as error:
            reason = ' '.join(str(error).split())[:160]
            raise UserError(f"'{path}' does not hold torchvision's weights of {vgg_type}: {reason}.") from error
        super().__init__(OrderedDict(zip(names, features, strict=True)))
        self.register_buffer('mean', torch.tensor(MEAN)[:, None, None])
        self.register_buffer('std', torch.tensor(STD)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, C, H', W')."""
        return super().forward((images - self.mean) / self.std)


def check_layer(layer: str, vgg_type: str, whose: str) -> None:
    """Sees that there is such a network and layer.

    Args:
        whose: what has the options ``layer`` and ``vgg_type``, for messages.

    Raises:
        UserError: there is not; the nearest name is suggested.
    """
    if vgg_type not in NAMES:
        raise UserError(f"'vgg_type' of {whose} is '{vgg_type}': choose one of {', '.join(NAMES)}.")
    if layer not in NAMES[vgg_type]:
        raise UserError(f"'layer' of {whose} is '{layer}', which {vgg_type} lacks.{near(layer, NAMES[vgg_type])}")
