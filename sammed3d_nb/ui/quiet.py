"""While a panel sets its own controls, it does not hear them."""


class Quiet:
    """True inside its ``with`` blocks, which may lie in each other; an error ends them as well."""

    def __init__(self) -> None:
        self._depth = 0

    def __bool__(self) -> bool:
        return self._depth > 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
