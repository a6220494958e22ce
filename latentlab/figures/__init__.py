"""Everything that is drawn: plain arrays in; axes, figures and files out."""
