import click
import pytest

from mycoswarm.cli.durations import Duration, spelled


@pytest.mark.parametrize(("typed", "seconds"), [("90", 90.0), ("90s", 90.0), (" 2 M ", 120.0), ("0.5h", 1800.0)])
def test_what_is_typed(typed: str, seconds: float) -> None:
    assert Duration(1, 3600).convert(typed, None, None) == seconds


@pytest.mark.parametrize("typed", ["", "m", "1d", "1:30", "-1", "1e3", "0.5", "3601", "2h"])
def test_what_is_no_duration_or_out_of_bounds(typed: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration(1, 3600).convert(typed, None, None)


def test_bounds_are_named_as_they_would_be_typed() -> None:
    assert [spelled(seconds) for seconds in (1.0, 90.0, 600.0, 3600.0)] == ["1s", "90s", "10m", "1h"]
    with pytest.raises(click.BadParameter, match="not between 1s and 1h"):
        Duration(1, 3600).convert("2h", None, None)
