"""An AWS control plane in this process: moto's server."""

from __future__ import annotations

import os

# Read by moto while it is imported.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("MOTO_LAMBDA_USE_DOCKER", "false")

from moto.core.config import default_user_config
from moto.moto_server.threaded_moto_server import ThreadedMotoServer


class ControlPlane:
    """Answer AWS API calls on 127.0.0.1 until stopped."""

    url: str

    def start(self, port: int = 0) -> None:
        default_user_config["lambda"]["use_docker"] = False
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"

    def stop(self) -> None:
        self._server.stop()
