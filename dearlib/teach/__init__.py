"""The course: masters become hand-outs and autograders (otter-grader), and a folder of submissions becomes a table of points.

A submission runs in a process of its own that holds no test. The tests stay with the grader and ask that process, over a
pipe, for the values and functions that they name. Nothing imports this package; `dearlib assignments` and `dearlib grade` run it.
"""
