"""A thousand devices follow a rollout from one static server on this machine.

The devices are folders of one process: two threads take turns at `update_once` for each of them, so that python-tuf is
imported once. Each has metadata, a name and a slot of its own, as on a thousand machines.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("tuf")
pytest.importorskip("cryptography")

from tests.support.slots import APP
from tests.support.updates import Device, Publisher, content_of, web_server
from tests.unit.runtime.update.conftest import plain_install, quick_disk
from tests.unit.runtime.update.test_updating import roll_out

__all__ = ["plain_install", "quick_disk"]

DEVICES = 1000
#: 99 % of a normal distribution lie within so many standard deviations.
_Z = 2.576


def interval(share: float) -> tuple[float, float]:
    """Between which numbers of devices 99 of 100 draws lie, with half a device for the steps of a count."""
    half = _Z * math.sqrt(DEVICES * share * (1 - share)) + 0.5
    return DEVICES * share - half, DEVICES * share + half


@pytest.mark.slow
def test_a_thousand_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = Publisher(tmp_path / "publisher")
    publisher.add(1)
    root = publisher.folder / "metadata" / "1.root.json"
    with web_server(publisher.folder) as server:
        devices = [Device(tmp_path / f"{n}", server.address, root) for n in range(DEVICES)]
        figures = []
        for device in devices:
            assert device.update().status == "installed"
        figures.append(("first release", server.sent / DEVICES))
        counts = []
        for share in ("10%", "50%", "100%"):
            sent = server.sent
            counts.append(roll_out(devices, publisher, share))
            figures.append((share, (server.sent - sent) / DEVICES))
        sent = server.sent
        assert {device.update().status for device in devices} == {"current"}
        figures.append(("nothing new", (server.sent - sent) / DEVICES))
    for count, expected in zip(counts, (0.1, 0.5, 1.0), strict=True):
        low, high = interval(expected)
        assert low <= count <= high, f"{count} of {DEVICES} devices at {expected:.0%}"
    assert {device.model for device in devices} == {content_of(2)}
    with capsys.disabled():
        print(f"\n{APP}: {counts} of {DEVICES} devices; bytes a device, heads included:")
        print(", ".join(f"{name} {count:,.0f}" for name, count in figures))
