"""Likeness of images and of their styles by what a frozen network sees in them (DAP-FSR, Eq. 4, 8 and 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.recognition import Recogniser, make_recogniser, recogniser_weight
from fsr_plugins.archs.recognition.base import Adapt
from fsr_plugins.checkpoints import load
from fsr_plugins.errors import UserError
from fsr_plugins.losses.efficientnet import LITE_LAYERS, EfficientNetLite0, lite_weight
from fsr_plugins.losses.frozen import LossByNetwork
from fsr_plugins.losses.vgg import VGG, check_layer
from fsr_plugins.registry import LOSS_REGISTRY, lookup, near
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile, locate, torchvision_weights

if TYPE_CHECKING:
    from typing_extensions import Self

#: DAP-FSR's, "with equal weights" (section 4.1).
LAYERS = ('relu1_1', 'relu2_1', 'relu3_1', 'relu4_1')
_INSTEAD = (
    'Or take the features of another network: `features: {type: EfficientNetLite0}`, whose weights a package brings, '
    'a recogniser, '
    '`features: {type: MobileFaceNet, layers: [dw_conv1, blocks.4, blocks.11]}`, or any network that this toolkit '
    'trained, `features: {type: StyleGAN2Critic, path: FILE, layers: [conv_body.1, conv_body.3]}`.'
)
_LITE = EfficientNetLite0.__name__
#: Under the root of a channel's variance: a channel that is zero everywhere has a gradient then.
_EPS = 1e-8


class _Complete(Exception):
    """Ends a forward pass when the last layer wanted has run."""


class FeatureExtractor(nn.Module):
    """The outputs of some modules of a frozen network; differentiable in the images, in float32 also under autocast.

    The forward pass ends with the last module wanted; of a module that runs several times the first output is taken.
    """

    def __init__(self, net: nn.Module, layers: Sequence[str]) -> None:
        """
        Args:
            net: takes RGB images in [0, 1], NCHW; it is frozen here.
            layers: dotted names of modules in it (``blocks.3.conv``), in the order of the features.

        Raises:
            UserError: no layer, one named twice, or one that the network lacks.
        """
        super().__init__()
        modules = dict(net.named_modules())
        if not layers or len(set(layers)) < len(layers):
            raise UserError(f"'layers' of {type(net).__name__}'s features is {list(layers)}: name each once.")
        for layer in layers:
            if not layer or layer not in modules:
                parts = ', '.join(name for name, _ in net.named_children())
                hint = near(layer, modules) or f' Its parts are {parts}.'
                raise UserError(f"{type(net).__name__} has no layer '{layer}' to take features of.{hint}")
        self.net = net.requires_grad_(False)
        self.layers = list(layers)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked for."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The layers' outputs.

        Args:
            images: (N, 3, H, W) RGB float in [0, 1] (values beyond are not clipped).

        Returns:
            One tensor a layer, of the network's own type, float32 unless it was converted.

        Raises:
            UserError: a layer that does not run on images, or does not give one tensor.
        """
        seen: dict[str, Tensor] = {}
        modules = {layer: self.net.get_submodule(layer) for layer in self.layers}
        hooks = [module.register_forward_hook(partial(self._keep, seen, layer)) for layer, module in modules.items()]
        try:
            with torch.autocast(images.device.type, enabled=False), suppress(_Complete):
                self.net(images.to(next(self.net.parameters()).dtype))
        finally:
            for hook in hooks:
                hook.remove()
        for layer in self.layers:
            if layer not in seen:
                raise UserError(
                    f"The layer '{layer}' of {type(self.net).__name__} does not run on images: name others."
                )
        return [seen[layer] for layer in self.layers]

    def _keep(self, seen: dict[str, Tensor], layer: str, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise UserError(f"The layer '{layer}' of {type(self.net).__name__} gives no single tensor: name a part.")
        if layer not in seen:
            seen[layer] = output.clone()  # the next layer may work in place
        if len(seen) == len(self.layers):
            raise _Complete


def make_features(block: ReadBlock) -> FeatureExtractor:
    """Builds an extractor with its weights.

    Args:
        block: ``{type: VGG, vgg_type: vgg19, layers: [relu1_1, …], path: null}``, torchvision's VGG, whose weights
            are looked for and fetched without ``path``; ``{type: EfficientNetLite0, layers: [blocks.0, …], path:
            null}``, whose weights an installed package holds; a recogniser with ``layers``, as
            :func:`~fsr_plugins.archs.recognition.make_recogniser` takes it; or ``{type: <any other network>, path: …,
            layers: […]}`` with a file that this toolkit wrote, which says how to build it.

    Raises:
        UserError: an unknown type, argument or layer; weights that are absent, with what to do, or of another network.
    """
    arguments = dict(block)
    factory = features_factory(arguments.pop('type', None))
    try:
        return factory(**arguments)
    except TypeError as error:
        raise UserError(f"The features of '{block['type']}' are not available with {arguments}: {error}.") from error


def features_weight(block: ReadBlock) -> WeightFile:
    """The weight file that :func:`make_features` loads for the same block; nothing is fetched.

    Raises:
        UserError: no such network or layer of VGG; a network whose weights cannot be fetched and that has no ``path``.
    """
    name, path = block.get('type'), block.get('path')
    if name == 'VGG':
        vgg_type = block.get('vgg_type', 'vgg19')
        for layer in block.get('layers', LAYERS):
            check_layer(layer, vgg_type, 'VGG')
        return replace(torchvision_weights(vgg_type, f'VGG ({vgg_type})'), path=path)
    if name == _LITE:
        return lite_weight(path)
    if _is_recogniser(name):
        return recogniser_weight(block)
    if path is None:
        raise UserError(f"The features of {name} need 'path', a file of this network that this toolkit wrote.")
    return WeightFile(str(name), '', '', '', path=path)


def features_factory(name: str | None) -> Callable[..., FeatureExtractor]:
    """What builds the extractor of the network ``name``; its signature is what a block may hold beside ``type``.

    Raises:
        UserError: no such network.
    """
    if name == 'VGG':

        def of_vgg(
            layers: Sequence[str] = LAYERS, vgg_type: str = 'vgg19', path: str | None = None
        ) -> FeatureExtractor:
            file = _found({'type': name, 'layers': layers, 'vgg_type': vgg_type, 'path': path})
            return FeatureExtractor(VGG(file, layers, vgg_type), layers)

        return _named(of_vgg, name)
    if name == _LITE:

        def of_lite(layers: Sequence[str] = LITE_LAYERS, path: str | None = None) -> FeatureExtractor:
            return FeatureExtractor(EfficientNetLite0.pretrained(path), layers)

        return _named(of_lite, name)
    if _is_recogniser(name):

        def of_recogniser(
            layers: Sequence[str], path: str | None = None, adapt: Adapt | None = None
        ) -> FeatureExtractor:
            return FeatureExtractor(make_recogniser({'type': name, 'path': path, 'adapt': adapt}), layers)

        return _named(of_recogniser, name)

    def of_network(layers: Sequence[str], path: str) -> FeatureExtractor:
        return FeatureExtractor(load(path, arch=str(name)), layers)

    return _named(of_network, name)


def _named(factory: Callable[..., FeatureExtractor], name: str | None) -> Callable[..., FeatureExtractor]:
    factory.__name__ = f'the features of {name}'  # what messages about a block call it
    return factory


def _found(block: ReadBlock) -> str:
    """The local weight file of a block; what VGG can be replaced by is told where it is absent."""
    weight = features_weight(block)
    try:
        return str(locate(weight))
    except UserError as error:
        raise UserError(f'{error} {_INSTEAD}' if block['type'] == 'VGG' else str(error)) from error


def _is_recogniser(name: str | None) -> bool:
    if name is None:
        raise UserError(
            "The block 'features' needs a key 'type': VGG, EfficientNetLite0, or a network, e.g. MobileFaceNet."
        )
    cls = lookup('archs', name)
    return isinstance(cls, type) and issubclass(cls, Recogniser)


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference, a scalar (DAP-FSR, Eq. 4 and 8; the paper's norm is not squared).

    Args:
        first, second: features of as many layers, equal in shape.
    """
    return torch.stack([F.mse_loss(ours, theirs) for ours, theirs in zip(first, second, strict=True)]).sum()


def style_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """How far two styles are apart, a scalar (DAP-FSR, Eq. 9, with squared norms).

    Sum over layers of the mean squared differences of the channels' means, and of their standard deviations (of the
    population, as in AdaIN), each taken over an image's positions.

    Args:
        first: features of as many layers as ``second``, each (N, C, …).
        second: of as many images, or of one to compare all with.
    """
    terms = [
        (ours - theirs).square().mean()
        for pair in zip(first, second, strict=True)
        for ours, theirs in zip(*map(_moments, pair), strict=True)
    ]
    return torch.stack(terms).sum()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, (N, C); embeddings (N, D) have one position."""
    positions = features.reshape(*features.shape[:2], -1)
    return positions.mean(dim=2), (positions.var(dim=2, correction=0) + _EPS).sqrt()


@LOSS_REGISTRY.register()
class FeatureLoss(LossByNetwork[FeatureExtractor]):
    """Distance of a frozen network's features of two images, :func:`feature_distance`; DAP-FSR's L_percept (Eq. 4)."""

    #: Arguments that are blocks of another kind than losses: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'features': features_factory}

    def __init__(self, features: ReadBlock, loss_weight: float = 1.0) -> None:
        """
        Args:
            features: block of the extractor; see :func:`make_features`.
            loss_weight: factor of the result.

        Raises:
            UserError: a faulty block, weights that are absent or of another network.
        """
        super().__init__(make_features(features))
        self.loss_weight = loss_weight

    @staticmethod
    def requirements(features: ReadBlock, **others: object) -> list[WeightFile]:
        """The network's weights, fetched at once where they have to be.

        Raises:
            UserError: they are absent; the message says what to put where, or to take instead.
        """
        return [replace(features_weight(features), path=_found(features))]

    @property
    def extractor(self) -> FeatureExtractor:
        """The frozen network and its layers."""
        return self._held[0]

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            sr, gt: (N, 3, H, W) RGB float in [0, 1]; ``gt`` gets no gradient.
        """
        with torch.no_grad():
            wanted = self.extractor(gt)
        return self.loss_weight * feature_distance(self.extractor(sr), wanted)
