"""A data set that has another kind of input than the model that is to be measured on it."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import invoke


def test_a_model_of_images_on_features_is_not_told_of_options_that_the_command_has_not(
    small_run: Path, tmp_path: Path
) -> None:
    readings = tmp_path / "plants.csv"
    rows = "".join(f"{number},{number / 7},{number % 10}\n" for number in range(100))
    readings.write_text(f"moisture,light,label\n{rows}")
    result = invoke("evaluate", small_run, "--dataset", readings)
    assert result.exit_code == 1
    assert "takes images; plants has features moisture, light" in result.stderr
    assert "--image-size" not in result.stderr
    result = invoke("data", "show", readings, "--image-size", 8)
    assert result.exit_code == 1
    assert "--image-size" in result.stderr
