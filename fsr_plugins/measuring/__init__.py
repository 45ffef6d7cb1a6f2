"""Images that anybody made, measured by the metrics of option files."""

from fsr_plugins.measuring.chosen import MetricLine, chosen_metrics, identity_metrics, recogniser_block, shown_metrics
from fsr_plugins.measuring.matching import matched
from fsr_plugins.measuring.measure import Measured, image_sizes, is_table, measure, write_csv

__all__ = [
    'Measured',
    'MetricLine',
    'chosen_metrics',
    'identity_metrics',
    'image_sizes',
    'is_table',
    'matched',
    'measure',
    'recogniser_block',
    'shown_metrics',
    'write_csv',
]
