"""CourseHub on one machine: the services and the parts of the Procfile, started, watched, and stopped together."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from coursehub import hosts
from coursehub.stack import errors, parts, ports, processes, procfile
from coursehub.stack.attendant import Attendant, Runner
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import VARIABLES, Services

DEMO_USER = "demo"
_LOGIN = f"python manage.py ensure_user {DEMO_USER} --email demo@example.com --password-env COURSEHUB_DEMO_PASSWORD"


class Stack:
    """
    A running CourseHub, as a context manager.

    ``data``: where its state is; None: a temporary directory, gone afterwards.
    ``names``: which parts, ``broadcast:2`` being a second one of its kind on a port of its own.
    ``given``: variables for all parts; DATABASE_URL, REDIS_URL or S3_ENDPOINT_URL among them stands in for that
    service.
    ``fast``: without what only a crash of the machine needs. ``restart``: parts and services that die come back.
    ``login``: with a user to try things as. ``hear`` gets the name of a part and each line that it logs, ``say`` what
    an operator should know.

    Raises:
        StackError: it cannot start, with what to do about it; then nothing is left running.
    """

    def __init__(
        self,
        data: DataDirectory | None = None,
        *,
        names: Iterable[str] = parts.DEFAULT,
        given: Mapping[str, str] | None = None,
        commands: Path = procfile.PROCFILE,
        fast: bool = False,
        restart: bool = False,
        login: bool = True,
        hear: Callable[[str, str], None] = lambda _name, _line: None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.names, self._restart, self._with_login = list(names), restart, login
        self._hear, self._say = hear, say
        self._commands = _commands_for(self.names, commands)
        self._given = _with_addresses(given or {})
        self.data = data or DataDirectory.temporary()
        self.services = Services(self.data, fast=fast, external=VARIABLES & self._given.keys(), say=say)
        self.runners: dict[str, Runner] = {}
        self._lock, self._over = threading.RLock(), threading.Event()

    def __enter__(self) -> "Stack":
        self._require_ports()
        self.services.__enter__()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        """The variables that every part gets."""
        return parts.environment(self.services.env, self._given)

    @property
    def api_url(self) -> str:
        """Where the API answers, without a slash at the end."""
        return f"http://{parts.in_url(self._given['HOST'])}:{self._given['PORT']}"

    @property
    def ws_url(self) -> str:
        """What WebSocket clients connect to."""
        return self.env["WEBSOCKET_PUBLIC_URL"]

    @property
    def login(self) -> dict[str, str] | None:
        """The demo user's name and password."""
        if not self._with_login:
            return None
        return {"username": DEMO_USER, "password": self.data.secret("DEMO_PASSWORD", length=16)}

    def port(self, name: str) -> int:
        """The port of a part that listens."""
        runner = self.runners[name]
        assert isinstance(runner, parts.Part) and runner.port is not None
        return runner.port

    def child(self, name: str) -> processes.Child:
        """The process of a part or service: the present one, or the last."""
        child = self.runners[name].child
        assert child
        return child

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """
        Send a signal to a part or service with all its processes; after SIGKILL, wait until they are gone.

        It comes back by `restart`, or by itself in a stack that restarts.
        """
        if number == signal.SIGKILL:
            self.child(name).reap()
        else:
            self.child(name).send(number)

    def restart(self, name: str) -> None:
        """Stop a part or service if it runs, start it again at its old address, and wait until it is ready."""
        with self._lock:
            self.runners[name].stop()
            self.runners[name].start()
        self.wait_ready([name])

    def wait_ready(self, names: Iterable[str] | None = None) -> None:
        """
        Wait until these parts take work; None: all of them. A service is ready once it is started.

        Raises:
            StartFailed: one ended, or is not ready in time.
        """
        for name in self.names if names is None else names:
            runner = self.runners[name]
            if isinstance(runner, parts.Part):
                self.child(name).wait_until(runner.is_ready)

    def stop(self) -> None:
        """Stop the parts, then the services, then what they left. Safe to call again."""
        self._over.set()
        self.data.forget_state()
        _stop_together([runner for runner in self.runners.values() if isinstance(runner, parts.Part)])
        # Before the lock: whoever holds it may be waiting for a service to become ready.
        _stop_together(self.services.running.values())
        with self._lock:
            self.services.stop()

    def state(self) -> dict[str, Any]:
        """What ``stack.json`` says: where everything runs, for commands that look for a running stack."""
        env = self.env
        return {
            "pid": os.getpid(),
            "apiUrl": self.api_url,
            "websocketUrl": self.ws_url,
            "login": self.login,
            "processes": {name: self.child(name).pid for name in self.runners},
            "environment": {name: env[name] for name in parts.OURS if name in env},
        }

    def _require_ports(self) -> None:
        for name, variable in parts.PORTS.items():
            if name in self.names:
                ports.require_free(variable, self._given["HOST"], int(self._given[variable]))

    def _start(self) -> None:
        self.runners |= self.services.running
        if "release" in self._commands:
            self._run_to_end("release", self._commands["release"])
        for name in self.names:
            self.runners[name] = self._part(name)
            self.runners[name].start()
        if self._with_login:
            # Power over somebody else's database is not ours to give away.
            self._run_to_end("login", _LOGIN + ("" if "DATABASE_URL" in self._given else " --superuser"))
        self.wait_ready()
        self.data.write_state(self.state())
        if self._restart:
            for runner in self.runners.values():
                Attendant(runner, over=self._over, lock=self._lock, say=self._say)

    def _part(self, name: str) -> parts.Part:
        kind, env, port = parts.kind(name), self._child_env(), None
        if variable := parts.PORTS.get(kind):
            port = int(self._given[variable]) if name == kind else ports.free_port(self._given["HOST"])
            env[variable] = str(port)
        return parts.Part(
            name,
            self._commands[kind],
            env=env,
            log=self.data.log(name.replace(":", "-")),
            watchdog=self.services.watchdog,
            listener=self._hear,
            port=port,
        )

    def _child_env(self) -> dict[str, str]:
        return self.env | {processes.MARK: str(self.data.path)}

    def _run_to_end(self, name: str, command: str) -> None:
        env = self._child_env() | {"COURSEHUB_DEMO_PASSWORD": self.login["password"] if self.login else ""}
        processes.run_to_end(
            name,
            procfile.argv(command),
            log=self.data.log(name),
            watchdog=self.services.watchdog,
            env=env,
            cwd=procfile.PROJECT,
        )


def _stop_together(runners: Iterable[Runner]) -> None:
    for runner in runners:
        if runner.child:
            runner.child.ask_to_end()
    for runner in runners:
        runner.stop()


def _commands_for(names: Iterable[str], path: Path) -> dict[str, str]:
    commands = procfile.read(path)
    for name in names:
        if parts.kind(name) not in commands:
            raise errors.ProcfileInvalid(f"{path} does not say how to start {parts.kind(name)}.")
    return commands


def _with_addresses(given: Mapping[str, str]) -> dict[str, str]:
    """What was given, with an address for everything that has none."""
    chosen = {name: value for name, value in given.items() if value}
    if "S3_ENDPOINT_URL" not in chosen:
        # A shell may well hold credentials for something else.
        chosen = {name: value for name, value in chosen.items() if name not in parts.OBJECTS}
    chosen["HOST"] = hosts.bare(chosen.get("HOST", "127.0.0.1"))
    for variable in parts.PORTS.values():
        chosen.setdefault(variable, str(ports.free_port(chosen["HOST"])))
    return chosen
