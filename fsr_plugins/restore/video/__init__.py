"""Clips: faces are followed over the frames, restored in each, and the clip is put together again with its sound."""
