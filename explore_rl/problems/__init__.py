"""Problems: reading them in the forms in which people have them, prompt templates, splits, filters, overlap, traces.

from explore_rl.problems import load, load_problems, load_template
"""

from explore_rl.problems.loading import load, load_problems, register_scheme
from explore_rl.problems.templates import Template, load_template

__all__ = ["Template", "load", "load_problems", "load_template", "register_scheme"]
