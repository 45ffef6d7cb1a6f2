"""From small faces, or photographs with small faces in them, to larger ones, by a checkpoint alone."""
