"""A page in the browser, and the same by HTTP: pictures in, restored pictures out.

Gradio, of the extra ``web``, is imported by :func:`serve` alone.
"""

from fsr_plugins.restore.page.server import PageRequest, serve
from fsr_plugins.restore.page.service import Service

__all__ = ['PageRequest', 'Service', 'serve']
