"""Runs Streamlit on the dashboard until it is stopped."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

from autokd.errors import HardwareError
from autokd.storage.ledger import storage_url


def serve_dashboard(study: str | None, storage: str | None, port: int, host: str, open_browser: bool) -> int:
    """Run Streamlit on the dashboard until it is stopped; returns its exit code.

    Raises:
        HardwareError: The port is taken, or the address is none of this host's.
    """
    import socket

    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        law = "the dashboard must be served on an address of this host"
        raise HardwareError(law, f"--host {host}: {error.strerror}", "The default is 127.0.0.1.") from None
    with socket.socket(family) as probe:
        if os.name != "nt":  # Windows would give us a port that somebody listens on
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            mend = "Give another --port." if error.errno == errno.EADDRINUSE else "Give another --host or --port."
            raise HardwareError("the dashboard needs a free port", f"{host}:{port}: {error.strerror}", mend) from None
    if host not in ("127.0.0.1", "localhost", "::1"):
        sys.stderr.write(f"warning: everybody who reaches {host} can read these studies\n")
    command = [sys.executable, "-m", "autokd.dashboard.serve", "--server.address", host, "--server.port", str(port)]
    command += ["--server.headless", "false" if open_browser else "true", "--browser.gatherUsageStats", "false"]
    command += ["--server.fileWatcherType", "none", "--browser.serverAddress", host, "--client.toolbarMode", "viewer"]
    command += ["--client.showErrorDetails", "none", "--runner.magicEnabled", "false"]
    environment = os.environ | {"AUTOKD_DASHBOARD_STORAGE": storage_url(storage), "AUTOKD_DASHBOARD_STUDY": study or ""}
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"Dashboard: http://{shown}:{port}  (Ctrl-C ends it)\n")
    server = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())  # no orphan that keeps the port
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0
