"""What is learned (Section 3.3): tokens (Eq. 5, 6), role masks (7–9), features and fusion (10, 11, 17–19), losses (12–16).

`dear` puts them together, `stack` runs several models as one batch, `training` and `evaluation` are the loop around them.
"""
