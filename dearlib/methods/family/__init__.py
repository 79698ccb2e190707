"""One file a method of the paper's tables, each a whole definition: what enters the frozen CLIP where, its loss, its answers.

The module's name is the method's name in parameter files; `dearlib.methods.catalogue` finds it, `harness` trains it.
"""
