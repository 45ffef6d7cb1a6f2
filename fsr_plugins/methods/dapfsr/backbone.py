"""torchvision's ResNet as the backbone of DAP-FSR's encoder, aligned at three places."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fsr_plugins.checkpoints import differences
from fsr_plugins.errors import UserError
from fsr_plugins.methods.dapfsr.blocks import ISTN
from fsr_plugins.registry import near

BACKBONES = ('resnet18', 'resnet34', 'resnet50')


class AlignedResNet(nn.Module):
    """A ResNet's maps of the scales 1/8, 1/16 and 1/32 and the mean of the last one: C3, C4, C5, C_global (Sec. 4.1).

    The ISTNs ("multiple", Table 2) are at the input and after the stages conv2 and conv3, so that C3 is aligned too.

    Args:
        name: ``resnet50``, the paper's; ``resnet34`` or ``resnet18``.
        use_istn: with ISTNs.

    Shape: images (N, 3, H, W), normalised as torchvision's ImageNet weights want them, to a list of four maps with
    :attr:`channels` channels: (H/8, W/8), (H/16, W/16), (H/32, W/32) and 1x1.

    Raises:
        UserError: another name.
    """

    def __init__(self, name: str = 'resnet50', use_istn: bool = True) -> None:
        import torchvision  # here, for it takes long

        super().__init__()
        if name not in BACKBONES:
            raise UserError(f"'backbone' is '{name}': choose one of {', '.join(BACKBONES)}.{near(name, BACKBONES)}")
        resnet = torchvision.models.get_model(name, weights=None)
        conv5 = resnet.fc.in_features
        conv2, conv3, conv4 = conv5 // 8, conv5 // 4, conv5 // 2
        self.name = name
        #: Of C3, C4, C5 and C_global.
        self.channels = (conv3, conv4, conv5, conv5)
        resnet.fc = nn.Identity()  # the classifier
        self.resnet = resnet
        self.istns = nn.ModuleList(ISTN(each) if use_istn else nn.Identity() for each in (3, conv2, conv3))

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        net = self.resnet
        stem = net.maxpool(net.relu(net.bn1(net.conv1(self.istns[0](image)))))
        c2 = self.istns[1](net.layer1(stem))
        c3 = self.istns[2](net.layer2(c2))
        c4 = net.layer3(c3)
        c5 = net.layer4(c4)
        return [c3, c4, c5, net.avgpool(c5)]

    def load_resnet(self, state: Mapping[str, Tensor]) -> None:
        """Takes over the weights of torchvision's ResNet of the same name; those of its classifier ``fc`` are left out.

        Raises:
            UserError: they are of another network; the first differing tensors are named, nothing is loaded.
        """
        # Files from before torchvision counted batches lack the counters.
        counters = {key: value for key, value in self.resnet.state_dict().items() if key.endswith('batches_tracked')}
        weights = counters | {key: value for key, value in state.items() if not key.startswith('fc.')}
        different = differences(self.resnet, weights)
        if different:
            raise UserError(
                f'The weights do not fit the backbone {self.name}: {"; ".join(different[:3])}'
                f'{f"; and {len(different) - 3} more" if len(different) > 3 else ""}. '
                f"Give torchvision's file of {self.name}, or the `backbone` that the weights are of."
            )
        self.resnet.load_state_dict(weights)
