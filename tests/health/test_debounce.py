import pytest

from health.debounce import Debounced, observe


def believed(results: str, *, rise: int = 2, fall: int = 3) -> str:
    """Returns the state after each result: `+` and `-` in, `U` and `D` out."""
    now, said = Debounced(), ""
    for result in results:
        now = observe(now, passed=result == "+", rise=rise, fall=fall)
        said += "U" if now.up else "D"
    return said


def test_nothing_is_believed_before_the_first_result() -> None:
    assert Debounced().up is None


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("+", "U"),  # the first result alone decides
        ("-", "D"),
        ("+--", "UUU"),
        ("+---", "UUUD"),  # fall
        ("-+", "DD"),
        ("-++", "DDU"),  # rise
        ("+--+--", "UUUUUU"),  # one result to the contrary starts the count again
        ("+--+---", "UUUUUUD"),
        ("-+-+-+", "DDDDDD"),
        ("+---++---", "UUUDDUUUD"),
    ],
)
def test_rise_and_fall(results: str, expected: str) -> None:
    assert believed(results) == expected


def test_one_of_each_follows_every_result() -> None:
    assert believed("+-+--+", rise=1, fall=1) == "UDUDDU"


def test_the_count_is_part_of_the_state() -> None:
    assert observe(Debounced(up=True), passed=False, rise=2, fall=3) == Debounced(up=True, against=1)
    assert observe(Debounced(up=True, against=2), passed=True, rise=2, fall=3) == Debounced(up=True)
