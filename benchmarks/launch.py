"""Run one command and measure it, from a process that is small itself.

    python -I -S launch.py SECONDS COMMAND…

On Linux the peak of a process begins with that of the process that starts it. The bench
reads whole files, so it would report its own memory for each command that needs less.
Prints what the command prints, and as the last line its facts in JSON.
"""

import json
import os
import subprocess
import sys
import time


began = time.perf_counter()
with subprocess.Popen(
    sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
) as process:
    killer = subprocess.Popen(
        ["/bin/sh", "-c", f"sleep {sys.argv[1]}; kill -9 {process.pid}"],
        start_new_session=True,
    )
    assert process.stdout is not None
    sys.stdout.write(process.stdout.read().decode())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.killpg(killer.pid, 9)
    killer.wait()
facts = {
    "wall": time.perf_counter() - began,
    "cpu": used.ru_utime + used.ru_stime,
    "rss": used.ru_maxrss << 10,
    "code": process.returncode,
}
print("\n" + json.dumps(facts))
