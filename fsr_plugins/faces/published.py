"""The published weight files of the engines: where they are, their SHA-256 and terms; and how one is read."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fsr_plugins.checkpoints import fit, read_weights
from fsr_plugins.weights import WeightFile

_FACEXLIB = 'https://github.com/xinntao/facexlib/releases/download'
_MEDIAPIPE = 'https://storage.googleapis.com/mediapipe-assets'
_WIDER = 'MIT (Pytorch_Retinaface); trained on WIDER FACE'
_APACHE = 'Apache 2.0 (MediaPipe)'

RETINAFACE_RESNET50 = WeightFile(
    'RetinaFace (ResNet-50)',
    f'{_FACEXLIB}/v0.1.0/detection_Resnet50_Final.pth',
    '6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d',
    'detection_Resnet50_Final.pth',
    licence=_WIDER,
)
RETINAFACE_MOBILENET = WeightFile(
    'RetinaFace (MobileNet 0.25)',
    f'{_FACEXLIB}/v0.1.0/detection_mobilenet0.25_Final.pth',
    '2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220',
    'detection_mobilenet0.25_Final.pth',
    licence=_WIDER,
)
BISENET = WeightFile(
    'BiSeNet (face parsing)',
    f'{_FACEXLIB}/v0.2.0/parsing_bisenet.pth',
    '468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567',
    'parsing_bisenet.pth',
    licence='MIT (face-parsing.PyTorch); trained on CelebAMask-HQ, which is for non-commercial research only',
)
PARSENET = WeightFile(
    'ParseNet (face parsing)',
    f'{_FACEXLIB}/v0.2.2/parsing_parsenet.pth',
    '3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2',
    'parsing_parsenet.pth',
    licence='CC BY-NC-SA 4.0 (PSFRGAN); trained on CelebAMask-HQ, which is for non-commercial research only',
)
BLAZEFACE_SHORT = WeightFile(
    'BlazeFace (short range)',
    f'{_MEDIAPIPE}/modules/face_detection/face_detection_short_range.tflite',
    '3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633',
    'face_detection_short_range.tflite',
    licence=_APACHE,
)
BLAZEFACE_FULL = WeightFile(
    'BlazeFace (full range)',
    f'{_MEDIAPIPE}/modules/face_detection/face_detection_full_range.tflite',
    '99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3',
    'face_detection_full_range.tflite',
    licence=_APACHE,
)
FACE_MESH = WeightFile(
    'MediaPipe face mesh',
    f'{_MEDIAPIPE}/models/face_landmark.tflite',
    '2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493',
    'face_landmark.tflite',
    licence=_APACHE,
)


def load_into(net: nn.Module, path: str | Path) -> None:
    """Loads a checkpoint of facexlib's, a bare state dict, into its network; a prefix before every name is dropped.

    Raises:
        UserError: it is no checkpoint (:func:`~fsr_plugins.checkpoints.read_weights`) or of another network.
    """
    fit(net, read_weights(path, None), f"'{path}'", instead="Give facexlib's checkpoint.")
