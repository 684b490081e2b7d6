"""What times files on a device: a folder that needs numpy and onnxruntime alone and can be copied to a board."""
