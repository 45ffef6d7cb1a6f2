"""Everything that can stop a run, found before it: files, sizes, weights, disk, devices, and one dry step a stage."""

from fsr_plugins.preflight.inspection import Finding, Report, check, inspect
from fsr_plugins.preflight.standing import OPTIONS, Standing, standing

__all__ = ['OPTIONS', 'Finding', 'Report', 'Standing', 'check', 'inspect', 'standing']
