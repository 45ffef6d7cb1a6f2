"""From small faces, or photographs with small faces in them, to larger ones, by a checkpoint alone.

from fsr_plugins.restore import Restorer

image, faces = Restorer.open('net.pth')(image)
"""

from fsr_plugins.restore.choosing import Mode
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.restorer import FaceReport, Picture, Restored, Restorer
from fsr_plugins.restore.restorers import Photographs

__all__ = ['FaceNetwork', 'FaceReport', 'Mode', 'Photographs', 'Picture', 'Restored', 'Restorer']
