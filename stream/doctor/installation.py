"""Checks of the installation itself: settings, the visitor salt, the kernel cache, the disk.

This file decides what is checked of this machine and process, and from which amount of free space on it is too little.
Network and servers are checked in the other files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stream.doctor.findings import Finding, error, note, ok, warning
from stream.runtime.kernel_folder import INSTALLED, can_be_written, usual_folders
from stream.service_links import service_links
from stream.settings import PREFIX, Settings, setting_table
from stream.versions.salt import salt_problem

LITTLE_BYTES, TOO_LITTLE_BYTES = 1 << 30, 100 << 20
"""Free space below which a disk is warned about, and below which kernels or shared memory may not fit."""


def check_settings(environment: Mapping[str, str]) -> list[Finding]:
    """Names of the variables that are set, and of those that are left out because Kubernetes made them."""
    ours = {name.upper(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    links = service_links(ours)
    known = {row.name for row in setting_table()}
    given = sorted(name for name in ours if name not in links and name in known)
    findings = [ok("settings", f"set: {', '.join(given)}" if given else "every setting has its default")]
    if links:
        findings.append(note("settings.kubernetes", f"left out, as Kubernetes made them: {', '.join(sorted(links))}"))
    return findings


def check_salt(settings: Settings) -> list[Finding]:
    """A salt that could be guessed."""
    if problem := salt_problem(settings.model.visitor_salt):
        found, _, mend = problem.partition(": ")
        return [warning("salt", found, mend)]
    return [ok("salt", "the visitor salt is long enough to be a secret")]


def check_kernels(environment: Mapping[str, str]) -> list[Finding]:
    """Folders of kernels: one that can be written, and those that have some."""
    folders = usual_folders(environment)
    writable = next((folder for folder in folders if can_be_written(folder)), None)
    compiled = [folder for folder in folders if next(folder.rglob("*.nbi"), None)]
    ahead = "compile them once, as the owner of the installation: corrente compile"
    if writable is None and not compiled:
        return [
            warning(
                "kernels",
                f"none are compiled, and each start takes minutes: {', '.join(map(str, folders))} can't be written",
                f"set NUMBA_CACHE_DIR to a folder that this user can write, or {ahead}",
            )
        ]
    if not compiled:
        return [note("kernels", f"none are compiled yet; the first start takes minutes (kept in {writable})", ahead)]
    kept = f"new ones are kept in {writable}" if writable else "no folder can be written for new ones"
    return [ok("kernels", f"compiled ones are in {', '.join(map(str, compiled))}; {kept}")]


def check_disk(environment: Mapping[str, str], settings: Settings) -> list[Finding]:
    """Free space where kernels, temporary files and, with several server processes, the model in memory lie."""
    places = {"kernels": next((each for each in usual_folders(environment) if each.exists()), INSTALLED)}
    places["temporary files"] = Path(tempfile.gettempdir())
    if settings.server_processes > 1 and Path("/dev/shm").is_dir():  # noqa: S108  shared memory is nowhere else
        places["shared memory"] = Path("/dev/shm")  # noqa: S108  likewise
    return [_space(what, folder) for what, folder in places.items()]


def _space(what: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB are free in {folder}, for {what}"
    mend = f"make room in {folder}, or use a larger one"
    if free < TOO_LITTLE_BYTES:
        return error("disk", found, mend)
    return warning("disk", found, mend) if free < LITTLE_BYTES else ok("disk", found)
