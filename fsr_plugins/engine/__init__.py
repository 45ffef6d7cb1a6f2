"""The training loop of a stage, its states and logs, its processes, and stages that make sets of images."""
