"""Power: how large an effect must be to be found, told from the width of its interval."""


def detectable_mean(*, low: float, high: float, n: int, power: float = 0.8) -> float:
    """The mean that a two-sided Student's test at 5 % finds in `power` of studies like this one.

    error = (high - low) / (2 t_{.975, n - 1}),   found mean = (t_{.975, n - 1} + t_{power, n - 1}) error

    Args:
      low: Lower end of a 95 % interval over n units.
      high: Upper end.
      n: Units, 2 or more.
      power: In (0.5, 1).

    Raises:
      ValueError: If `power` or `n` is out of range, or the interval has no width.

    Reference: Cohen 1988, Statistical Power Analysis, chapter 2.
    """
    from scipy import special

    if n < 2 or not 0.5 < power < 1 or not high > low:
        raise ValueError(
            f"low {low}, high {high}, n {n}, power {power}; expected low < high, 2 or more units and a "
            "power between 0.5 and 1."
        )
    quantile = float(special.stdtrit(n - 1, 0.975))
    error = (high - low) / (2 * quantile)
    return (quantile + float(special.stdtrit(n - 1, power))) * error
