"""Models of BasicSR and of packages for it, which are not this toolkit's, in its engine; see :mod:`.model`."""

from fsr_plugins.models.hosted.model import HostedModel, hosted

__all__ = ['HostedModel', 'hosted']
