"""What a worker does before it joins its group, and what it leaves for afterwards."""

import subprocess
import sys

PROGRAM = """
import sys
import stream.worker
from stream.models.learner import learn_batch
from stream.settings import ModelSettings
from stream.warmup import import_river, warm_up

assert warm_up(ModelSettings()) > 0
assert learn_batch.signatures, "the kernel that tests and learns is not there yet"
print(any(name.partition(".")[0] == "river" for name in sys.modules))
import_river()
print(any(name.partition(".")[0] == "river" for name in sys.modules))
"""


def test_kernels_are_there_before_river_is_imported():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["False", "True"]
