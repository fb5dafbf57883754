"""The real AWS provider, started once for many Terraform commands.

Terraform starts its provider anew for each command and reads the schema of all its 1,500 types of resources, which
takes many times longer than the plan itself. TF_REATTACH_PROVIDERS, which is meant for debugging a provider, leads it
to one that runs already. Between the two stands a relay, `python -m tests.provider FILE FOLDER`: it passes everything
on, but leaves out of the schema what this tree does not name. A type that it left out would be refused by Terraform.

The provider reads AWS_ variables when it starts, so that each account needs a relay of its own. It opens files where
it was started, such as the zip of a layer that is applied. It keeps its last configuration, so that Terraform commands
take turns.
"""

import atexit
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]

# go-plugin's handshake: what Terraform sets before it starts a provider.
_HANDSHAKE = {
    "TF_PLUGIN_MAGIC_COOKIE": "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
    "PLUGIN_PROTOCOL_VERSIONS": "5",
}
_QUIET = {"TF_LOG_SDK": "ERROR", "TF_LOG_PROVIDER": "ERROR"}
# Of tfplugin5's GetProviderSchema.Response: resources, data sources, ephemeral resources. Each is a map.
_MAPS = (2, 3, 8)


class Relay:
    """A relay to a provider that has this environment and works in this folder; both end with this process."""

    def __init__(self, provider: Path, environment: Mapping[str, str], folder: Path) -> None:
        # Terraform configures a provider at each command, and with a file of certificates that works only once.
        environment = {name: value for name, value in environment.items() if name != "AWS_CA_BUNDLE"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.provider", str(provider.resolve()), str(folder.resolve())],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.variables = {"TF_REATTACH_PROVIDERS": self._process.stdout.readline().strip()}
        atexit.register(self.end)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.communicate()


def _relay(provider: str, folder: str) -> None:
    """Serve until standard input ends."""
    import grpc  # noqa: PLC0415 (the tests' own processes do without)

    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    process = subprocess.Popen(
        [provider], cwd=folder, env=os.environ | _HANDSHAKE | _QUIET, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout
        socket = process.stdout.readline().split("|")[3]
        channel = grpc.insecure_channel(f"unix:{socket}", unlimited)
        # A provider blocks when nobody reads what it writes.
        written = channel.unary_stream("/plugin.GRPCStdio/StreamStdio")(b"")
        threading.Thread(target=lambda: deque(written, maxlen=0), daemon=True).start()
        schema: list[bytes] = []

        class Passing(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
                if not call.method.startswith("/tfplugin5.Provider/"):
                    return None  # streams, which Terraform can do without
                ask = channel.unary_unary(call.method)

                def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                    if call.method.endswith("/GetSchema"):
                        if not schema:
                            schema.append(shortened(ask(request), names()))
                        return schema[0]
                    try:
                        return bytes(ask(request))
                    except grpc.RpcError as error:
                        context.abort(error.code(), error.details())
                        raise

                return grpc.unary_unary_rpc_method_handler(answer)

        with tempfile.TemporaryDirectory() as here:
            server = grpc.server(ThreadPoolExecutor(32), handlers=[Passing()], options=unlimited)
            server.add_insecure_port(f"unix:{here}/relay")
            server.start()
            address = {"Network": "unix", "String": f"{here}/relay"}
            attachment = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
            print(json.dumps({"registry.terraform.io/hashicorp/aws": attachment}), flush=True)
            sys.stdin.read()
            server.stop(None)
    finally:
        process.kill()


def names() -> set[str]:
    """Whatever in this tree could be the name of a resource or a data source."""
    texts = (
        path.read_text()
        for folder in ("terraform", "modules", "examples", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".tf", ".py", ".json") and path.is_file()
    )
    return {name for text in texts for name in re.findall(r"\baws_\w+", text)}


def shortened(answer: bytes, kept: set[str]) -> bytes:
    """Leave out of a schema, an encoded GetProviderSchema.Response, what is not named."""
    fields, position = [], 0
    while position < len(answer):
        start = position
        tag, position = _varint(answer, position)
        length, position = _varint(answer, position)
        if tag >> 3 not in _MAPS or _key(answer, position) in kept:
            fields.append(answer[start : position + length])
        position += length
    return b"".join(fields)


def _key(message: bytes, position: int) -> str:
    """The key of a map's entry."""
    _, position = _varint(message, position)
    length, position = _varint(message, position)
    return message[position : position + length].decode()


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


if __name__ == "__main__":
    _relay(*sys.argv[1:])
