"""DAP-FSR: face super-resolution that adapts to a new domain by one exemplar. Importing it registers all."""

from fsr_plugins.methods.dapfsr import archs, damma, decoder, models, warm_up

__all__ = ['archs', 'damma', 'decoder', 'models', 'warm_up']
