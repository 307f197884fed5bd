"""The trained model for programs of others: an ONNX file, and a STAC item that describes the model."""
