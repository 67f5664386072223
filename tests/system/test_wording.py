"""What messages and reports count, list and measure."""

from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.wording import bytes_as_text, counted, first_names


@given(st.integers(0, 10**15))
def test_bytes_are_right_to_one_decimal_of_their_unit(number: int) -> None:
    amount, unit = bytes_as_text(number).split()
    factor = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert abs(float(amount) * factor - number) <= 0.05 * factor + 1e-6
    assert float(amount) < 1000 or unit == "TB"


def test_a_number_and_its_noun_agree() -> None:
    assert [counted(number, "recordings") for number in (0, 1, 1234)] == [
        "0 recordings",
        "1 recording",
        "1,234 recordings",
    ]


def test_names_beyond_the_limit_are_counted() -> None:
    assert [first_names("abc", limit) for limit in (2, 3)] == ["a, b and 1 more", "a, b, c"]
