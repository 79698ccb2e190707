"""What is learned around a frozen CLIP: DeAR (Section 3.3, Eq. 5–19), every other method of the tables, and controls beside them.

DeAR: `tokens`, `masks` (7–9), `fusion` (10, 11, 17–19), `losses` (12–16), `dear`; `stack` and `training` run several of its models as
one batch. All methods: `interface` says what one is, `family` has one a file, `catalogue` finds and `harness` trains them, by the one
`loop` and a `recipe`. `evaluation`, `retrieval` and `gates` look at what came out.
"""
