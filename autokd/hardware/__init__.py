"""Hardware profiles and the timing of files on them."""
