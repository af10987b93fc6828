"""Every network, data set, corruption, augmentation, callback and measure: what `stratoscope list` knows, and more."""

import inspect
import sys
from typing import TYPE_CHECKING, Any

from docs._ext.api import linked_name
from docs._ext.docstrings import prose
from docs._ext.papers import cited, linked
from docs._ext.pictures import Pictures, augmented, corrupted, sampled, samples
from stratoscope import probes
from stratoscope.callbacks.instruments.measures import MEASURES, Look, Measure
from stratoscope.commands.catalogue import SECTIONS, ours, parameter_count
from stratoscope.datamodules import Augmentation, Corruption
from stratoscope.models import Classifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# of corruptions that need some, for their pictures: on 500 images of ten classes
ARGUMENTS: dict[str, dict[str, Any]] = {
    "PartialLabels": {"p": 0.5},
    "RandomSubset": {"n": 250},
    "ConfusedLabels": {"matrix": [[0.5 * (k == c) + 0.5 * (k == (c + 1) % 10) for k in range(10)] for c in range(10)]},
}
# of similarity, which is between layers and so measured by the table
SIMILAR = Look("Linear CKA, unbiased, with earlier layers and with itself at other epochs", "1 if alike")
ROLES = {
    "instruments": "Instruments, which measure and change nothing",
    "controls": "Controls, which change training on purpose",
    "guards": "Guards, which keep a run exact",
    "progress": "The display, which a terminal has by itself",
}


def kinds(pictures: Pictures) -> str:
    """All there is to be named on the command line, as Markdown: a section for each kind.

    Args:
        pictures: Where those of data go.
    """
    parts: list[str] = []
    for title, option, base in SECTIONS:
        found = sorted(ours(base), key=lambda child: child.__name__)
        parts += [f"## {title.capitalize()} (`{option}`)"]
        if base is Corruption:
            parts += ["Training images of `Shapes` and their labels, as they are:"]
            parts += [pictures.put("as_they_are", corrupted(None), "eight images and their labels")]
            parts += ["And below each corruption, as it leaves them. Labels that are not the true ones are red."]
        if base is Classifier:
            parts += [_networks(found)]
        elif title == "callbacks":
            for role, heading in ROLES.items():
                those = [child for child in found if f".callbacks.{role}." in child.__module__]
                parts += [f"### {heading}", *(_described(child, pictures) for child in those)]
        else:
            parts += [_described(child, pictures) for child in found]
    return "\n\n".join([*parts, "## Measures (`--trainer.callbacks.measures`, of `LinearProbes`)", _measures()])


def _networks(found: list[type[Any]]) -> str:
    lines = ["| network | what | parameters |", "|---|---|---|"]
    for child in found:
        count = parameter_count(child)
        lines.append(f"| {_name(child)} | {_cell(_line(child))} | {f'{count:,}' if count else ''} |")
    return "\n".join(lines)


def _described(child: type[Any], pictures: Pictures) -> str:
    """A class in a paragraph, with its paper and, of data, a picture."""
    about, figure = f"**{_name(child)}**  \n{_about(child)}", _figure(child)
    return f"{about}\n\n{pictures.put(child.__name__, figure, f'{child.__name__}, eight images')}" if figure else about


def _figure(child: type[Any]) -> "Figure | None":
    """A picture of data, if it can be made without files."""
    if issubclass(child, Corruption):
        given = ARGUMENTS.get(child.__name__, {})
        needed = [one.name for one in inspect.signature(child).parameters.values() if one.default is one.empty]
        return None if child.only_for or {*needed} - {*given} else corrupted(child(**given))
    if issubclass(child, Augmentation):
        return augmented(child())
    return sampled(samples()[child.__name__]) if child.__name__ in samples() else None


def _measures() -> str:
    """Each measure, the numbers it gives, and the functions that compute them."""
    lines = ["| measure | in the table | what | unit | computed by | paper |", "|---|---|---|---|---|---|"]
    for name, measure in MEASURES.items():
        functions = _functions(measure) or [probes.linear_cka]
        by = ", ".join(linked_name(one.__name__) or one.__name__ for one in functions)
        papers = ", ".join(map(linked, dict.fromkeys(paper for one in functions for paper in cited(one.__doc__ or ""))))
        shows = measure.shows or {"cka with ...": SIMILAR}
        for column, look in shows.items():
            unit = look.unit.replace("|", r"\|")  # formulas between dollars are rendered
            lines.append(f"| `{name}` | `{column}` | {_cell(look.name)} | {unit} | {by} | {papers} |")
    return "\n".join(lines)


def _functions(measure: Measure) -> list[Any]:
    """What of `stratoscope.probes` a measure calls."""
    makers = filter(None, (measure.of_layer, measure.of_probes))
    names = [name for one in makers for name in one.__code__.co_names]
    found = [vars(probes)[name] for name in dict.fromkeys(names) if name in probes.__all__]
    return [one for one in found if inspect.isfunction(one) and cited(one.__doc__ or "")]


def _name(child: type[Any]) -> str:
    return linked_name(child.__name__) or f"`{child.__name__}`"


def _about(child: type[Any]) -> str:
    """What a class is, in a line with its paper: the first that it cites, or its module as a whole does."""
    line = _line(child)
    module = (sys.modules[child.__module__].__doc__ or "").split("\n\n")[0]
    about = (inspect.getdoc(child) or "").partition("\n\nArgs:")[0]
    papers = [] if cited(line) else cited(about) or cited(module)
    return _cell(f"{line} ({papers[0]})" if papers else line)


def _line(child: type[Any]) -> str:
    return " ".join((inspect.getdoc(child) or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return prose(text).replace("|", r"\|")
