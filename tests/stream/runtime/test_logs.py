"""Log lines of structlog and of libraries have one form."""

from __future__ import annotations

import json
import subprocess
import sys

LOGGING = """
import logging, logging.config, sys
import structlog
from stream.runtime.logs import configure_logs

logging.config.dictConfig(configure_logs(sys.argv[1], "info"))
structlog.get_logger("ours").info("published", version=7)
logging.getLogger("theirs").warning("slow by %d s", 3)
logging.getLogger("aiokafka").info("the normal course of work")
structlog.get_logger("ours").debug("below the level")
try:
    raise ValueError("broken")
except ValueError:
    structlog.get_logger("ours").exception("failed")
"""


def lines(log_format: str) -> list[str]:
    command = [sys.executable, "-c", LOGGING, log_format]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_json_is_one_object_per_event_of_ours_and_of_libraries():
    published, slow, failed = map(json.loads, lines("json"))
    assert (published["event"], published["version"], published["level"]) == ("published", 7, "info")
    assert (slow["event"], slow["logger"], slow["level"]) == ("slow by 3 s", "theirs", "warning")
    assert failed["exception"][0]["exc_value"] == "broken"
    assert published["timestamp"].endswith("Z")


def test_console_lines_are_plain_text_with_the_traceback_below():
    published, slow, failed, *traceback = lines("console")
    assert "published" in published
    assert "version=7" in published
    assert "slow by 3 s" in slow
    assert "failed" in failed
    assert traceback[-1] == "ValueError: broken"
    assert "\x1b" not in published, "no colours: logs are read from files"
