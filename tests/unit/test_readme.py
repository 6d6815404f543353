"""What README shows beside commands and programs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast


def test_the_unit_in_readme_starts_again_after_any_number_of_failures() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (unit,) = re.findall(r"```\n(\[Unit\]\n.*?)```", text, re.DOTALL)
    settings = configparser.ConfigParser()
    settings.optionxform = str  # type: ignore[assignment,method-assign]
    settings.read_string(unit)
    assert settings["Unit"]["StartLimitIntervalSec"] == "0"
    assert {key: settings["Service"][key] for key in ("Type", "Restart")} == {"Type": "notify", "Restart": "on-failure"}
    assert int(settings["Service"]["RestartSec"]) >= 1
    assert int(settings["Service"]["WatchdogSec"]) > 0
    assert settings["Service"]["ExecStart"].split()[1] == "watch"
