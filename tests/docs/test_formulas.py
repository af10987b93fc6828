"""Tests of docs/_ext/formulas.py."""

import pytest

from docs._ext.formulas import latex


@pytest.mark.parametrize(
    ("plain", "rendered"),
    [
        ("W'x_i + b", r"W^{\top}x_{i}+b"),
        ("1/(2n) sum_i |x_i|^2", r"\frac{1}{2n}\sum_{i}\left\|x_{i}\right\|^{2}"),
        ("a b / (c + d)", r"\frac{ab}{c+d}"),
        ("a b/c", r"a\frac{b}{c}"),
        ("p_k = s_k / sum_j s_j", r"p_{k}=\frac{s_{k}}{\sum_{j}s_{j}}"),
        ("(n - 1)(n - 2)/2", r"\left(n-1\right)\frac{n-2}{2}"),
        ("1 / ((n - 1)(n - 2))", r"\frac{1}{\left(n-1\right)\left(n-2\right)}"),
        ("e_{y_i} <= mu_c,    t in [0, 1]", r"e_{y_{i}}\le \mu _{c},\qquad t\in \left[0,1\right]"),
        ("x s^-b", "xs^{-b}"),
        ("tr(S^+)", r"\operatorname{tr}\left(S^{+}\right)"),
        ("learning_rate G", r"\mathrm{learning\ rate}\,G"),
    ],
)
def test_the_notation_of_the_docstrings(plain: str, rendered: str) -> None:
    """Every part of it, as it is written in LaTeX."""
    assert latex(plain) == rendered


@pytest.mark.parametrize("wrong", ["a ? b", "(a + b", "|a", "a + /b"])
def test_what_is_no_formula_is_refused(wrong: str) -> None:
    """Rather than shown as something else."""
    with pytest.raises(ValueError, match=r"formula|stands"):
        latex(wrong)
