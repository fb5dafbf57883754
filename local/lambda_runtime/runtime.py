"""Run Lambda functions: AWS's own runtime client in one process per execution environment, fed by a small Runtime API.

What follows Lambda: an environment serves one invocation at a time and stays warm; the one used last is lent first; a
concurrent invocation starts another; a timeout or a crash ends the environment; no cleanup code runs at its end.
What does not: memory is not limited, a failed init is not run a second time, /opt and /var/task are folders elsewhere.
When this process is killed, idle environments end at once and busy ones with their invocation.
"""

from __future__ import annotations

import atexit
import hashlib
import tempfile
import threading
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from local.lambda_runtime.environment import Environment
from local.lambda_runtime.function import (
    Archive,
    FunctionVersion,
    Invocation,
    RoleCredentials,
    RuntimeStoppedError,
    TooManyRequestsError,
)


class LambdaRuntime:
    """Invoke functions in processes of `python`, an interpreter that has awslambdaric and boto3.

    `credentials` gives those of the function's role, `prepare` has the last word on an environment's variables,
    `log` receives every line: function, log stream, lines; `began` is told how many executions of a function work, and
    of all functions.
    """

    def __init__(
        self,
        *,
        python: Path,
        folder: Path,
        credentials: Callable[[FunctionVersion], RoleCredentials],
        endpoint_url: str | None = None,
        prepare: Callable[[FunctionVersion, dict[str, str]], dict[str, str]] = lambda _, variables: variables,
        log: Callable[[FunctionVersion, str, list[str]], None] = lambda *_: None,
        began: Callable[[FunctionVersion, int, int], None] = lambda *_: None,
        account_concurrency: int = 1000,
    ) -> None:
        self._python = python
        self._folder = folder
        self._credentials = credentials
        self._endpoint_url = endpoint_url
        self._prepare = prepare
        self._log = log
        self._began = began
        self._account_concurrency = account_concurrency
        self._lock = threading.Lock()
        self._unpacking = threading.Lock()
        self._log_file = threading.Lock()
        self._running: Counter[str] = Counter()
        self._working: dict[str, FunctionVersion] = {}  # by name, the version that began last
        self._warm: dict[str, list[Environment]] = defaultdict(list)
        self._environments: set[Environment] = set()
        self._stopped = False
        atexit.register(self.stop)

    def invoke(
        self,
        function: FunctionVersion,
        payload: bytes,
        *,
        reserved_concurrency: int | None = None,
        invoked_arn: str | None = None,
    ) -> Invocation:
        """Run the function once, in a warm environment or in a new one."""
        with self._concurrency(function, reserved_concurrency):
            environment = self._borrow(function)
            try:
                outcome = environment.invoke(payload, invoked_arn or function.arn)
            finally:
                self._give_back(environment)
        self._write_log(environment, outcome.log)
        return outcome

    def retire(self, name: str) -> None:
        """End the idle environments of a function that was deleted."""
        with self._lock:
            arns = [arn for arn, warm in self._warm.items() if warm and warm[0].function.name == name]
            retired = [environment for arn in arns for environment in self._warm.pop(arn)]
        for environment in retired:
            environment.kill()

    def report(self) -> None:
        """Tell of executions that go on, as when they began."""
        with self._lock:
            of_all = self._running.total()
            running = [(self._working[name], number) for name, number in self._running.items() if number]
        for function, number in running:
            self._began(function, number, of_all)

    def log_path(self, name: str) -> Path:
        """The file that collects what a function writes."""
        return self._folder / "logs" / f"{name}.log"

    def environments(self, name: str) -> int:
        """How many environments of a function live."""
        with self._lock:
            return sum(environment.function.name == name for environment in self._environments)

    def stop(self) -> None:
        """Kill every environment and wait until it is gone; running invocations raise."""
        with self._lock:
            self._stopped = True
            environments = list(self._environments)
            self._warm.clear()
        for environment in environments:
            environment.kill()
        for environment in environments:
            environment.join()
        atexit.unregister(self.stop)

    @contextmanager
    def _concurrency(self, function: FunctionVersion, reserved: int | None) -> Iterator[None]:
        name = function.name
        with self._lock:
            if reserved is not None and self._running[name] >= reserved:
                raise TooManyRequestsError("ReservedFunctionConcurrentInvocationLimitExceeded")
            if self._running.total() >= self._account_concurrency:
                raise TooManyRequestsError("ConcurrentInvocationLimitExceeded")
            self._running[name] += 1
            self._working[name] = function
            running, of_all = self._running[name], self._running.total()
        try:
            self._began(function, running, of_all)
            yield
        finally:
            with self._lock:
                self._running[name] -= 1

    def _borrow(self, function: FunctionVersion) -> Environment:
        """Lend the environment used last, for its connection is the freshest; environments of older code end here."""
        outdated = []
        try:
            with self._lock:
                warm = self._warm[function.arn]
                while warm:
                    environment = warm.pop()
                    if environment.usable_for(function):
                        return environment
                    outdated.append(environment)
        finally:
            for environment in outdated:
                environment.kill()
        return self._start(function)

    def _start(self, function: FunctionVersion) -> Environment:
        task_root = self._unpack((function.package,))
        layers = self._unpack(function.layers)
        credentials = self._credentials(function)
        environment = Environment(function, self._folder, credentials.expires_at, ended=self._forget)
        try:
            variables = self._prepare(function, self._variables(environment, credentials, task_root, layers))
            with self._lock:  # held while starting, so that stop() never misses a process
                self._refuse_when_stopped()
                environment.start([str(self._python), "-m", "awslambdaric", function.handler], variables, task_root)
                self._environments.add(environment)
        except BaseException:
            environment.abandon()
            raise
        return environment

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise RuntimeStoppedError

    def _give_back(self, environment: Environment) -> None:
        with self._lock:
            if environment.alive and not self._stopped:
                self._warm[environment.function.arn].append(environment)

    def _forget(self, environment: Environment) -> None:
        with self._lock:
            self._environments.discard(environment)
            if environment in (warm := self._warm[environment.function.arn]):
                warm.remove(environment)

    def _unpack(self, archives: tuple[Archive, ...]) -> Path:
        """Unpack zips over each other in one folder, once."""
        digest = hashlib.sha256("".join(archive.sha256 for archive in archives).encode()).hexdigest()[:32]
        folder = self._folder / "code" / digest
        with self._unpacking:
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
                for archive in archives:
                    with zipfile.ZipFile(BytesIO(archive.content)) as content:
                        content.extractall(unfinished)
                unfinished.rename(folder)
        return folder

    def _variables(
        self, environment: Environment, credentials: RoleCredentials, task_root: Path, layers: Path
    ) -> dict[str, str]:
        """The variables that Lambda sets; nothing of this process's own environment is passed on."""
        function = environment.function
        variables = {
            **dict(function.variables),
            "_HANDLER": function.handler,
            "_X_AMZN_TRACE_ID": "",
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_REGION": function.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": environment.log_stream,
            "AWS_LAMBDA_RUNTIME_API": environment.address,
            "LAMBDA_TASK_ROOT": str(task_root),
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": f"{task_root}/lib:{layers}/lib",
            "PATH": f"{layers}/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{task_root}:{layers}/python",
            "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's /var/task and /opt are read-only
            "TMPDIR": str(environment.folder),
            "TZ": ":UTC",
        }
        if self._endpoint_url:
            variables |= {"AWS_ENDPOINT_URL": self._endpoint_url, "AWS_EC2_METADATA_DISABLED": "true"}
        return variables

    def _write_log(self, environment: Environment, log: str) -> None:
        path = self.log_path(environment.function.name)
        with self._log_file:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(log)
        self._log(environment.function, environment.log_stream, log.splitlines())
