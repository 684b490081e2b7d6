"""What a candidate costs before it is trained, and whether it fits."""
