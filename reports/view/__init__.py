"""From a report document to blocks, which every format renders."""
