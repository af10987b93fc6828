"""Formulas of docstrings, as LaTeX.

In the code a formula is written so that it can be read there, in the letters of the code below it:

    P(W, b) = 1/n sum_i [ logsumexp(z_i) - z_i[y_i] ] + ridge/2 |W|^2,    z_i = W'x_i + b.

Here a prime transposes, a word of three letters or more is a name (two are a product), bars are a norm, a slash between
letters divides these two, and one with spaces around it divides the product before it. Four spaces stand between two
formulas.
"""

import re

TOKENS = re.compile(
    r"(?P<gap>\s{4,})|(?P<over>\s/\s)|(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z]{3,}(?:_[a-z]{3,})*)|(?P<letter>[A-Za-z]{1,2})|(?P<sign><=|>=|!=|<-|[-+=,.<>;:])"
    r"|(?P<other>[/^_'|()\[\]{}])"
)
SHORT = {"in", "tr", "mu"}  # names all the same
GREEK = {"alpha", "beta", "epsilon", "lambda", "mu", "sigma", "theta"}
SIGNS = {"<=": r"\le ", ">=": r"\ge ", "!=": r"\ne ", "<-": r"\leftarrow ", ".": ".", "in": r"\in "}
CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}
OPEN = {"(": r"\left(", "[": r"\left[", "{": "", "|": r"\left\|"}
CLOSE = {")": r"\right)", "]": r"\right]", "}": "", "|": r"\right\|"}


def latex(formula: str) -> str:
    """The formula as LaTeX.

    Args:
        formula: In the notation of the docstrings; it may have line breaks.

    Raises:
        ValueError: If it has a sign that is not known, or a bracket is not closed.
    """
    return _sequence(_tokens(formula.strip()), None)


def _tokens(formula: str) -> list[tuple[str, str]]:
    """Kind and text of every token, the last one first.

    Raises:
        ValueError: If there is a sign that is not known.
    """
    tokens, at = [], 0
    while at < len(formula):
        match = TOKENS.match(formula, at)
        if match is None:
            raise ValueError(f"{formula[at]!r} is not known in the formula {formula!r}")
        at, kind, text = match.end(), str(match.lastgroup), match[0].strip()
        if kind != "space":
            tokens.append(("word" if text in SHORT else kind, text))
    return tokens[::-1]


def _sequence(tokens: list[tuple[str, str]], closing: str | None) -> str:
    """What stands up to a closing bracket, which is taken too.

    Raises:
        ValueError: If there is none.
    """
    done: list[str] = []
    product: list[str] = []  # the factors since the last sign
    while tokens:
        kind, text = tokens.pop()
        if text == closing:
            return "".join(done + product)
        if kind == "gap" or kind == "sign" or text == "in":
            done += [*product, r"\qquad " if kind == "gap" else SIGNS.get(text, text)]
            product = []
        elif kind == "over":
            product = [rf"\frac{{{_bare(product)}}}{{{_bare(_divisor(tokens))}}}"]
        elif text == "/" and product:
            product[-1] = rf"\frac{{{_bare(product[-1:])}}}{{{_bare(_divisor(tokens))}}}"
        else:
            tokens.append((kind, text))
            factor = _factor(tokens)
            if factor.startswith(r"\sum"):
                done += [*product, factor]
                product = []
            else:
                product.append(factor)
    if closing:
        raise ValueError(f"{closing!r} is missing in a formula")
    return "".join(done + product)


def _factor(tokens: list[tuple[str, str]]) -> str:
    """A letter, number, name or bracket, with what is above and below it.

    Raises:
        ValueError: If something else stands there.
    """
    kind, text = tokens.pop()
    if text in CLOSING:
        base = OPEN[text] + _sequence(tokens, CLOSING[text]) + CLOSE[CLOSING[text]]
    elif text == "sum":
        base = r"\sum"
    elif text in GREEK:
        base = rf"\{text} "
    elif kind == "word":
        name = text.replace("_", r"\ ")
        base = rf"\operatorname{{{name}}}" if tokens and tokens[-1][1] in {"(", "_"} else rf"\mathrm{{{name}}}\,"
    elif kind in {"number", "letter"}:
        base = text
    else:
        raise ValueError(f"{text!r} stands where a number, letter or bracket was expected")
    above: list[str] = []
    while tokens and tokens[-1][1] in {"_", "^", "'"}:
        sign = tokens.pop()[1]
        if sign == "_":
            base += f"_{{{_small(tokens)}}}"
        else:
            above.append(r"\top" if sign == "'" else _small(tokens))
    return base + (f"^{{{' '.join(above)}}}" if above else "")


def _divisor(tokens: list[tuple[str, str]]) -> list[str]:
    """A factor; of a sum, what is summed too."""
    factors = [_factor(tokens)]
    return [*factors, *_divisor(tokens)] if factors[0].startswith(r"\sum") else factors


def _small(tokens: list[tuple[str, str]]) -> str:
    """What stands above or below: a sign with a number or letter, letters without a space, or a bracket."""
    kind, text = tokens.pop()
    if text == "{":
        return _sequence(tokens, "}")
    if kind == "sign":
        follows = tokens and tokens[-1][0] in {"number", "letter"}
        return text + (tokens.pop()[1] if follows else "")
    return text


def _bare(factors: list[str]) -> str:
    """A product without the brackets around it, which a fraction bar replaces."""
    if len(factors) == 1 and factors[0].startswith(OPEN["("]) and factors[0].endswith(CLOSE[")"]):
        inside = factors[0].removeprefix(OPEN["("]).removesuffix(CLOSE[")"])
        depth = lowest = 0
        for bracket in re.findall(r"\\left|\\right", inside):
            depth += 1 if bracket == r"\left" else -1
            lowest = min(lowest, depth)
        return inside if lowest == 0 else factors[0]
    return "".join(factors)
