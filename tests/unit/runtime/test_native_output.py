"""What is held back of native libraries, and what the import of TensorFlow leaves behind."""

from __future__ import annotations

import gc
import os

import pytest

from runtime.native_output import held_stderr, quiet_tensorflow


def test_native_messages_are_shown_only_where_something_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with held_stderr():
        os.write(2, b"a greeting\n")
    assert capfd.readouterr().err == ""

    def fail() -> None:
        with held_stderr():
            os.write(2, b"a reason\n")
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert capfd.readouterr().err == "a reason\n"


def test_native_messages_are_not_shown_after_ctrl_c(capfd: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        with held_stderr():
            os.write(2, b"a greeting\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert capfd.readouterr().err == ""


@pytest.mark.workstation
def test_the_collector_passes_over_what_tensorflow_brought() -> None:
    quiet_tensorflow()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000
