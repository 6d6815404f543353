"""Measures `pocketlens serve`: honest clients alone, and beside slow and hostile ones.

`python -m benchmarks.serve --model FILE` prints a table; the exit status is 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.table import Row, line
from runtime import Classifier

CLIENTS, REQUESTS, HOSTILE = 4, 2500, 200
#: The hostile clients have connected and begun.
_WARM_UP_S = 3.0
_MOST_RATIO = 3.0
_MOST_MB = 400.0


class Measured(NamedTuple):
    """What honest clients have seen.

    Attributes:
        seconds: of each request.
        wrong: answers that differ from the classifier's.
        failed: requests without an answer.
    """

    seconds: Sequence[float]
    wrong: int
    failed: int

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        return float(np.quantile(self.seconds, share)) * 1e3


def pictures() -> list[bytes]:
    """Twenty pictures as a camera and a browser send them."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(20):
        small = rng.integers(0, 256, (6, 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((640, 480)).save(buffer, "PNG" if number % 5 == 0 else "JPEG")
        found.append(buffer.getvalue())
    return found


def ask(port: int, sources: Sequence[bytes], expected: Sequence[Any], requests: int, clients: int) -> Measured:
    """Send requests from several clients at once, each over one connection, which is opened again if it fails."""

    def work(client: int) -> Measured:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        seconds, wrong, failed = [], 0, 0
        for number in range(requests):
            place = (client * 7 + number) % len(sources)
            began = time.perf_counter()
            try:
                connection.request("POST", "/v1/classify", sources[place], {"Content-Type": "image/jpeg"})
                answer = connection.getresponse()
                found = json.loads(answer.read())
                wrong += answer.status != 200 or found["predictions"] != expected[place]
            except (OSError, http.client.HTTPException):
                failed += 1
                connection.close()
            seconds.append(time.perf_counter() - began)
        connection.close()
        return Measured(seconds, wrong, failed)

    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(work, range(clients)))
    times = [second for one in each for second in one.seconds]
    return Measured(times, sum(one.wrong for one in each), sum(one.failed for one in each))


def measure(model: Path, clients: int = CLIENTS, requests: int = REQUESTS, hostile: int = HOSTILE) -> list[Row]:
    """The rows of the table, for a server in a process of its own."""
    sources = pictures()
    with Classifier(model) as classifier:
        expected = [[prediction.as_dict() for prediction in classifier.classify(source)] for source in sources]
    command = [sys.executable, "-m", "runtime.cli.main", "serve", "--json", "--port", "0", "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["port"]
        ask(port, sources, expected, 20, clients)  # each thread has its interpreter
        alone = ask(port, sources, expected, requests, clients)
        attacker = [sys.executable, "-m", "benchmarks.hostile_clients", str(port), str(hostile)]
        with subprocess.Popen(attacker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attack:
            time.sleep(_WARM_UP_S)
            beside = ask(port, sources, expected, requests, clients)
            kinds = attack.communicate()[0]
        most = _peak_mb(server.pid)
        lives = server.poll() is None
        server.terminate()
        status = server.wait(60)
    print(f"connections of the hostile clients: {kinds.strip()}", file=sys.stderr)
    return _rows(alone, beside, most, lives and status == 0)


def _rows(alone: Measured, beside: Measured, most: float, ended_well: bool) -> list[Row]:
    count = len(alone.seconds)
    wrong, failed = alone.wrong + beside.wrong, alone.failed + beside.failed
    slower = beside.percentile(0.99) / alone.percentile(0.99)
    return [
        Row(f"{count:,} requests twice: answers unlike classify's", None, wrong, "", wrong, "0", wrong == 0),
        Row("requests without an answer", None, failed, "", failed, "0", failed == 0),
        Row("median, alone and beside hostile clients", *_both(alone, beside, 0.5), "no bound", True),
        Row("99th percentile", *_both(alone, beside, 0.99), f"<= {_MOST_RATIO:g}", slower <= _MOST_RATIO),
        Row("longest request beside them", None, beside.percentile(1), "ms", beside.percentile(1), "no bound", True),
        Row("peak memory of the server", None, most, "MB", most, f"<= {_MOST_MB:g}", most <= _MOST_MB),
        Row("the server lives, and ends by SIGTERM with 0", None, ended_well, "", ended_well, "1", ended_well),
    ]


def _both(alone: Measured, beside: Measured, share: float) -> tuple[float, float, str, float]:
    first, second = alone.percentile(share), beside.percentile(share)
    return first, second, "ms", second / first


def _peak_mb(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return next(int(row.split()[1]) for row in text.splitlines() if row.startswith("VmHWM:")) * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--hostile", type=int, default=HOSTILE)
    options = parser.parse_args()
    rows = measure(options.model, requests=options.requests, hostile=options.hostile)
    for row in rows:
        print(line(row))
    sys.exit(not all(row.kept for row in rows))


if __name__ == "__main__":
    main()
