"""``python -m autokd.cli``."""

from __future__ import annotations

from autokd.cli.main import main

if __name__ == "__main__":
    main()
