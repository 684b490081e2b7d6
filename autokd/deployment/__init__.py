"""From a trained student to a verified file with a receipt."""
