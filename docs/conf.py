"""How Sphinx builds these pages: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import stratoscope

project = "Stratoscope"
release = stratoscope.__version__
language = "en"
smartquotes = False  # two dashes begin an option
extensions = ["myst_parser", "docs._ext.generated"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Stratoscope"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_show_copyright = False
python_maximum_signature_line_length = 80
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries = False  # the headings are enough
exclude_patterns = ["_ext"]
