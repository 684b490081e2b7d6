"""What this machine calls itself."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from contextlib import suppress
from pathlib import Path


def board_name() -> str | None:
    """What a single-board computer calls itself, e.g. ``"Raspberry Pi 5 Model B Rev 1.0"``; ``None`` on other machines."""
    try:
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0\n ")
    except OSError:
        return None


def cpu_model() -> str | None:
    """What the processor calls itself, else the board."""
    with suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found.group(1)
    return board_name() or platform.processor() or None


def device_id() -> str:
    """The same for the same machine, today and tomorrow: 16 hexadecimal digits of a hash of its name and its processor."""
    text = json.dumps([platform.node(), cpu_model()], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
