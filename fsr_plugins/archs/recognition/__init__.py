"""Face recognisers behind one interface, :class:`Recogniser`, and what trains them. Importing this registers them."""

from fsr_plugins.archs.recognition.arcface import ArcFace
from fsr_plugins.archs.recognition.asoftmax import ASoftmaxHead, ASoftmaxLogits
from fsr_plugins.archs.recognition.base import Recogniser
from fsr_plugins.archs.recognition.dlib import DlibResNet
from fsr_plugins.archs.recognition.facenet import FaceNet
from fsr_plugins.archs.recognition.mobilefacenet import MobileFaceNet
from fsr_plugins.archs.recognition.pretrained import make_recogniser, recogniser_factory, recogniser_weight
from fsr_plugins.archs.recognition.sphereface import SphereFace20

__all__ = [
    'ASoftmaxHead',
    'ASoftmaxLogits',
    'ArcFace',
    'DlibResNet',
    'FaceNet',
    'MobileFaceNet',
    'Recogniser',
    'SphereFace20',
    'make_recogniser',
    'recogniser_factory',
    'recogniser_weight',
]
