"""Numbers as people read them."""

import math

LARGEST = 1e6
"""From here on a number has an exponent, as it has below its reciprocal's tenth."""


def readable_number(value: float, figures: int = 3) -> str:
    """A number with so many figures, whole numbers in full, with a true minus and no exponent below `LARGEST`.

    Args:
        value: The number; what is not finite is shown as –.
        figures: How many of its figures count; digits before the point are never left out.
    """
    if not math.isfinite(value):
        return "–"
    size, value = abs(value), value + 0.0  # no minus before 0
    if size >= LARGEST or 0 < size < 0.1 / LARGEST:
        text = f"{value:.{figures}g}"
    else:
        text = f"{value:.{max(0, figures - 1 - math.floor(math.log10(size))) if size else 0}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def readable_ml(volume: float) -> str:
    """Millilitres with three figures; – for none."""
    return f"{readable_number(volume)} mL" if volume else "–"
