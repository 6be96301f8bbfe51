"""Colours of objects, told apart by colour-blind people too, and of the marks that must be seen on all of them."""

# fmt: off
COLOURS = (
    "#56b4e9", "#e69f00", "#832db6", "#bd1f01", "#ee3377", "#eedd88", "#d55e00", "#b9ac70", "#99ddff", "#3f90da",
    "#4477aa", "#f0e442", "#a96b59", "#117733", "#ee7733", "#aa4499", "#009e73", "#228833", "#66ccee", "#bbcc33",
)
# fmt: on
"""Colours of objects in the order they are made, away from grey. Taken from published palettes for colour-blind readers
(Okabe and Ito, Color Universal Design, 2008; P. Tol, Colour Schemes, SRON/EPS/TN/09-002, 2021; M. Petroff, Accessible
Color Sequences for Data Visualization, arXiv:2107.02270, 2021), each next one the farthest from those before it: by
CIEDE2000, in the least of normal, deuteranopic and protanopic sight (Machado et al., 2009)."""

POSITIVE_MARK, NEGATIVE_MARK, MARK_EDGE = "#c8ffdc", "#ffdede", "#000000"
"""Marks of clicks are light with a dark edge, so that one of the two stands out from any mask; their shape tells the
sign."""
