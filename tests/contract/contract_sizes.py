"""When a counted size agrees with a printed one."""


def fits(found: float | None, printed: str) -> bool:
    """The printed figure is `found` rounded or cut off (the ConvNeXt README prints 28 M for 28.59), or within 0.5 %."""
    if not printed:
        return True
    unit = 10.0 ** -len(printed.partition(".")[2])
    return found is not None and (
        -0.5 * unit <= found - float(printed) < unit or abs(found / float(printed) - 1) <= 0.005
    )
