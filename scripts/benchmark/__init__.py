"""The parts of ``benchmark_engine.py``: what is measured, on which data, and how it is reported."""
