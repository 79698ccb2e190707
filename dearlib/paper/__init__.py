"""What the authors report: their tables as CSV with sources, and the audit that recomputes them."""
