"""Random holes: strokes, blobs, boxes, everyday ones, and those of a folder of masks."""
