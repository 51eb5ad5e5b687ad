"""A terminal that types the blocks of a guide: one shell and one empty folder for a page.

Blocks are typed as they stand. The surroundings make them work on a machine where other programs use the usual ports:

- `corrente` is on the path, and `CORRENTE_PORT` names a free port, where the pages use the default 8080;
- curl connects to that port instead of `localhost:8080` (`connect-to` in its configuration file);
- a page that exports `localhost:9092` and `redis://localhost:6379/0` is given the addresses of the servers of the tests
  in their place, as a reader puts in their own.

This file decides these surroundings, when a block has failed, and how long a reader waits between two blocks: until
everything that was posted is learned and served. Marks and outputs are decided in `tests.docs.guide_page`.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from simulators.client import Client, key_header
from simulators.replay import counters
from tests import plain_http
from tests.docs.guide_page import Block, blocks_of

BLOCK_SECONDS = 300.0
"""Longest run of one block: kernels may be compiled for the first time."""
READER_SECONDS = 60.0
PROGRAMS = Path(sys.executable).parent


class Terminal:
    """One shell, closed at the end of its `with` block together with all that it started.

    Args:
        folder: an empty folder, in which the blocks are typed.
        addresses: text of the pages to the text that is typed in its place, for addresses of real servers.
        environment: further variables.
    """

    def __init__(
        self, folder: Path, addresses: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._addresses = dict(addresses or {})
        self._port = free_port()
        # Short, because it holds sockets, whose paths have at most a hundred bytes.
        self._surroundings = tempfile.TemporaryDirectory(prefix="page-")
        surroundings = Path(self._surroundings.name)
        (surroundings / ".curlrc").write_text(f'connect-to = "localhost:8080:127.0.0.1:{self._port}"\n')
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("CORRENTE_")}
        self.environment = {
            **inherited,
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(surroundings),
            "CURL_HOME": str(surroundings),
            "TMPDIR": str(surroundings),
            "COLUMNS": "100",
            "CORRENTE_PORT": str(self._port),
            **(environment or {}),
        }
        self.key_file = folder / "operators.key"
        self.waits_with_key = False
        """True if the reader has that key; otherwise a page about keys says by itself what to wait for."""
        self._output = surroundings / "output"
        self._output.touch()
        self._blocks = surroundings / "blocks"
        self._blocks.mkdir()

    def __enter__(self) -> Self:
        self._done, done = os.pipe()
        with self._output.open("ab") as output:
            self._shell = subprocess.Popen(
                ["bash", "-e"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[done],
                start_new_session=True,
            )
        os.close(done)
        self._type(f"exec {{DONE}}>&{done} {done}>&-")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin is not None
        with suppress(BrokenPipeError):
            self._shell.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._shell.wait(10)
        self._shell.kill()
        self._shell.wait()
        left = self._left_processes()
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        os.close(self._done)
        self._surroundings.cleanup()

    def type_page(self, path: Path, exports: Mapping[str, str] | None = None, *, ending_seconds: float = 20.0) -> None:
        """Type all blocks of a page, and compare the outputs that it shows. Nothing may be left running.

        Args:
            path: the page.
            exports: name of a block to what is typed before it and not shown, for surroundings that change.
            ending_seconds: longest time that programs may take to end after the last block.

        Raises:
            AssertionError: a block failed, printed something else than the page shows, or left a program running.
        """
        for block in blocks_of(path):
            self._type((exports or {}).get(block.name, ":"))
            printed = self.type_block(path, block)
            if block.output is not None and (difference := block.output.difference(printed)):
                raise AssertionError(f"{_place(path, block)}: {difference}. It printed:\n{printed}")
            self._wait_as_a_reader()
        deadline = time.monotonic() + ending_seconds
        while (left := self.left_running()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == [], f"{path.name} leaves programs running"

    def type_block(self, path: Path, block: Block) -> str:
        """Type one block and return what it printed on both outputs."""
        text = block.text
        for shown, typed in self._addresses.items():
            text = text.replace(shown, typed)
        script = self._blocks / block.name.replace(" ", "-")
        script.write_text(text)
        before = self._output.stat().st_size
        self._type(f"source '{script}' </dev/null; echo >&$DONE")
        ready, _, _ = select.select([self._done], [], [], BLOCK_SECONDS)
        succeeded = bool(ready) and os.read(self._done, 1) == b"\n"
        printed = self._output.read_bytes()[before:].decode(errors="replace")
        logs = "".join(f"\n--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in self._logs())
        assert succeeded, f"{_place(path, block)} {'failed' if ready else 'did not end'}:\n{text}\n{printed}{logs}"
        return printed

    def left_running(self) -> list[str]:
        """Command lines of programs that were typed and still run, in the background or in a session of their own."""
        found = []
        for process in self._left_processes():
            with suppress(psutil.Error):
                found.append(" ".join(process.cmdline()))
        return found

    def _left_processes(self) -> list[psutil.Process]:
        """All processes that inherited the surroundings of this terminal, but for its shell."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                typed_here = process.environ().get("CURL_HOME") == self.environment["CURL_HOME"]
                if typed_here and process.pid != self._shell.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def _type(self, line: str) -> None:
        assert self._shell.stdin is not None
        with suppress(BrokenPipeError):  # a shell that has ended is noticed by its other outputs
            self._shell.stdin.write(f"{line}\n".encode())
            self._shell.stdin.flush()

    def _wait_as_a_reader(self) -> None:
        # Asked less often than usual: five requests of each question would keep a core busy that the system needs.
        wait_until(self._posted_events_are_served, "posted events to be served", READER_SECONDS, every=0.1)

    def _posted_events_are_served(self) -> bool:
        """True if no server answers on the page's port, or it has nothing left to wait for."""
        address = f"http://127.0.0.1:{self._port}"
        try:
            health = plain_http.get(f"{address}/health/ready")
            if not health.is_success:
                return False
            key = ""
            if health.json()["access"] == "keys":
                if not self.waits_with_key:
                    return True  # a page about keys, which says by itself what to wait for
                key = self.key_file.read_text().strip()
            headers = key_header(key)
            # Ask for the learned version first and for the served one last: each may only have gone on meanwhile.
            metrics = plain_http.get(f"{address}/metrics", headers=headers).text
            with Client(address, key=key) as client:
                read = counters(client)["read"]
            versions = plain_http.get(f"{address}/v1/versions", headers=headers).json()
            served = plain_http.get(f"{address}/health/ready", headers=headers).json()["version"]
        except httpx.TransportError:
            return True
        accepted = sum(
            sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
            if sample.name == "corrente_http_events_accepted_total"
        )
        newest = max((version["number"] for version in versions["versions"]), default=None)
        return read >= accepted and served == versions["aliases"].get("pinned", newest)


def _place(path: Path, block: Block) -> str:
    return f"{path.name}:{block.line} ({block.name})"


def missing_programs(blocks: list[Block]) -> list[str]:
    """Programs that these blocks call and that this machine lacks, of those that are no part of Corrente."""
    called = {name for block in blocks for name in re.findall(r"\b(curl|redis-cli|openssl)\b", block.text)}
    return sorted(name for name in called if shutil.which(name) is None and not (PROGRAMS / name).exists())
