"""What an input is, one kind a file: checks, description, preparation inside the exported graph, augmentations, pictures."""

from __future__ import annotations

from autokd.modalities.modality import Modality as Modality
from autokd.modalities.modality import Shown as Shown

__all__ = ["Modality", "Shown"]
