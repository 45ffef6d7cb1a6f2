"""Edges as the methods use them: Canny, difference of Gaussians, and the difference from a local mean."""

from __future__ import annotations

from fsr_plugins.edges.canny_edges import Adaptive, canny, canny_cv2, canny_image
from fsr_plugins.edges.filters import AvgPoolEdge, dog, grey

__all__ = ['Adaptive', 'AvgPoolEdge', 'canny', 'canny_cv2', 'canny_image', 'dog', 'grey']
