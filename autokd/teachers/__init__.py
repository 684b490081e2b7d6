"""Teachers: trained here, a torch module, an ONNX file; and the bank that computes their outputs once."""
