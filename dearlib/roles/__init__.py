"""What a head is for (Section 3.2): contribution, phrases (TextSpan), concepts (Eq. 2), entropy (Eq. 3, 4), role by a rule [ours].

`rolefile` is what masks are built from; `uncertainty`, `controls`, `truth` and `evidence` say how far to trust it, `grading` Eq. 2.
"""
