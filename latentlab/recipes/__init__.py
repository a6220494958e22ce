"""What the commands do, for Python too: each recipe is a readable sequence of public steps."""
