"""Starts the server with everything loaded: ``python -m autokd.dashboard.serve [OPTIONS OF STREAMLIT RUN]``.

Streamlit imports a script's modules and reads its data at the first visit; here the one is done before the server answers, and the
other while the browser still opens.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from pathlib import Path

from streamlit.web import cli


def import_pages() -> None:
    """What the first visitor would wait for; an error is said on the page, in words."""
    with suppress(Exception):
        from autokd.dashboard import app

        del app  # its import is what takes time


def read_ahead() -> None:
    """Read the study that will open, and make its picture; what fails here is said on the page, in words."""
    with suppress(Exception):
        from autokd.dashboard import source
        from autokd.dashboard.views import front

        if source.ledger_there() and (found := source.summaries()):
            wanted = source.wanted_study()
            name = wanted if wanted in {s.name for s in found} else source.newest_with_front(found)
            front.prepare(source.unchosen(next(s for s in found if s.name == name)))


def main() -> None:
    """Serve until stopped."""
    # modules with cached functions are imported before there is a server; it would say so, once for each of them
    logging.getLogger("streamlit.runtime.caching.cache_data_api").setLevel(logging.ERROR)
    import_pages()
    threading.Thread(target=read_ahead, daemon=True).start()
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("app.py")), *sys.argv[1:]]
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
