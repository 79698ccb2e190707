"""Sphinx's settings. `make site` lays out the sources beside this file and builds them; nothing is executed or fetched."""

project = "dearlib"
author = "The dearlib authors"
copyright = "the dearlib authors, MIT licence"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "dearlib.site.docstrings",
]
nitpicky = False
exclude_patterns = []

# Notebooks: the committed outputs are what is shown.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# MathJax draws SVG from one script that lies in the site; its menu would load further ones.
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "local"}}

viewcode_follow_imported_members = False  # a field whose default is a function of the standard library has no page of its own

# Docstrings: a word in `quotes` is code; the order is that of the file, which is written to be read.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "model_config, model_fields, model_computed_fields"}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an `Attributes:` section describes fields, which stand among the members already
maximum_signature_line_length = 100
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = "dearlib"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # a summary is fetched, which a browser refuses where pages come from the file system
html_last_updated_fmt = None
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_theme_options = {
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_repository_button": False,
    "use_issues_button": False,
    "use_edit_page_button": False,
    "navbar_persistent": [],
}
