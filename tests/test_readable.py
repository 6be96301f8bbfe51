"""Numbers as people read them: no exponent where whole numbers will do."""

import pytest

from sammed3d_nb.readable import readable_ml, readable_number


@pytest.mark.parametrize(
    ("value", "figures", "text"),
    [
        (1234.4, 3, "1234"),
        (-1024, 3, "−1024"),
        (123.4, 2, "123"),
        (99.96, 3, "100"),
        (12.0, 4, "12"),
        (0.01234, 3, "0.0123"),
        (0.00001234, 3, "0.0000123"),
        (999_999.4, 3, "999999"),
        (2_500_000, 3, "2.5e+06"),
        (0, 3, "0"),
        (-0.0, 3, "0"),
        (float("nan"), 3, "–"),
    ],
)
def test_numbers_are_read_without_exponents(value: float, figures: int, text: str) -> None:
    assert readable_number(value, figures) == text


def test_millilitres() -> None:
    assert [readable_ml(ml) for ml in (0, 0.5, 99.96, 1234.5)] == ["–", "0.5 mL", "100 mL", "1234 mL"]
