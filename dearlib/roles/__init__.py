"""What a head is for (Section 3.2): its contribution, its phrases (TextSpan), their concepts (Eq. 2), and the entropy of these (Eq. 3, 4).

`rolefile` is what masks are built from; `uncertainty` and `controls` say how far to trust it.
"""
