"""Published networks that rate a face image by itself: where their files are, and how they are read and run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.checkpoints import fit, read_weights
from fsr_plugins.errors import UserError

#: (N, 3, H, W) RGB in [0, 1], quantised, to scores (N,) on the same device.
Scorer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class QualityModel:
    """A published network.

    Attributes:
        name: what it is called in results, with its version.
        url: where its file is published; nobody publishes a checksum beside it.
        filename: what the file is called here.
        package: the module that runs it.
        install: how to get that.
        how: how images reach it, for the convention.
        read: makes the scorer of a file; raises UserError for one of something else.
    """

    name: str
    url: str
    filename: str
    package: str
    install: str
    how: str
    read: Callable[[str], Scorer]


def read_faceqnet(path: str) -> Scorer:
    """FaceQnet (Hernandez-Ortega et al., ICB 2019): Keras runs the network that the file holds, on PyTorch.

    Images are resized bilinearly to the network's input, 224×224, in BGR from 0 to 255; scores are clipped to [0, 1].
    This is what the authors' script does to faces cut out (its resizing rounds by itself: a level of 255 at most).
    """
    if 'keras' not in sys.modules:
        os.environ['KERAS_BACKEND'] = 'torch'
    import keras

    if keras.config.backend() != 'torch':
        raise UserError(f'Keras runs on {keras.config.backend()} here: set KERAS_BACKEND=torch for the metric FIQ.')
    try:
        net = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split())[:160]
        raise UserError(f"'{path}' holds no network that Keras {keras.__version__} can read: {reason} …") from error
    shapes = getattr(net, 'input_shape', None), getattr(net, 'output_shape', None)
    if shapes[1] != (None, 1) or not isinstance(shapes[0], tuple) or len(shapes[0]) != 4 or shapes[0][3] != 3:
        raise UserError(
            f"'{path}' is no FaceQnet: it goes from {shapes[0]} to {shapes[1]}, not from images to a score."
        )
    net.trainable = False
    size = shapes[0][1:3]

    def score(images: Tensor) -> Tensor:
        levels = F.interpolate(images.flip(1) * 255, size, mode='bilinear', align_corners=False).round()
        # Keras takes images NHWC, and to its own device.
        scores = net(levels.permute(0, 2, 3, 1), training=False)
        return scores.to(images.device).reshape(len(images)).clamp(0, 1)

    return score


def read_topiq(path: str) -> Scorer:
    """TOPIQ for faces (Chen et al., TIP 2024) by pyiqa, without its search for a face in the image.

    The weights are read here: pyiqa would read the file with code in it, and fetch others that are not needed.
    """
    import pyiqa

    # A model name without weights of its own: they, and a face detector, would be fetched for the known one.
    bare: dict[str, object] = {'model_name': 'local', 'pretrained': False, 'backbone_pretrain': False}
    metric = pyiqa.create_metric('topiq_nr-face', device='cpu', align_crop_face=False, **bare)
    fit(metric.net, read_weights(path), f"'{path}'", instead='Give the published file of topiq_nr-face.')
    metric.requires_grad_(False).eval()
    return lambda images: metric.to(images.device)(images).reshape(len(images))


_RELEASES = 'https://github.com/uam-biometrics/FaceQnet/releases/download'
_KERAS = ('keras', "pip install 'fsr_plugins[fiq]'", 'BGR uint8, 224x224, clipped to 0…1', read_faceqnet)
#: The OpenCV that pyiqa requires shares its folder with the one that the toolkit requires, which goes back into it.
_INSTALL_PYIQA = 'pip install pyiqa && pip install --force-reinstall --no-deps opencv-python'
_TOPIQ = 'topiq_nr_cgfiqa_res50-0a8b8e4f.pth'

#: By name in option files. Scores of two of them cannot be compared, not even of the two versions of FaceQnet.
MODELS = {
    'faceqnet_v0': QualityModel('FaceQnet v0', f'{_RELEASES}/v0/FaceQnet.h5', 'FaceQnet_v0.h5', *_KERAS),
    'faceqnet_v1': QualityModel('FaceQnet v1', f'{_RELEASES}/v1.0/FaceQnet_v1.h5', 'FaceQnet_v1.h5', *_KERAS),
    'topiq_nr-face': QualityModel(
        'TOPIQ for faces',
        f'https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/{_TOPIQ}',
        _TOPIQ,
        'pyiqa',
        _INSTALL_PYIQA,
        'RGB uint8, shorter side 512',
        read_topiq,
    ),
}
