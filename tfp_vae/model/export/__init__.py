"""A model for other processes: SavedModel, ONNX, LiteRT."""
