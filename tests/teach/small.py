# %% [raw]
# # ASSIGNMENT CONFIG
# name: small
# export_cell:
#   pdf: false
# generate: true
# tests:
#   ok_format: false

# %% [markdown]
# # A small assignment for the harness's tests

# %% [raw]
# # BEGIN QUESTION
# name: q1
# points: 4

# %% [markdown]
# **Question 1** (4 points). Write `doubled`.

# %% [raw]
# # BEGIN SOLUTION


# %%
def doubled(x):
    """Twice x."""
    # BEGIN SOLUTION
    twice_as_much = x + x
    return twice_as_much
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS


# %%
def test_doubled_by_hand(doubled):
    assert doubled(3) == 6, f"twice 3 is 6, you return {doubled(3)}"


# %%
# HIDDEN
def test_doubled_elsewhere(doubled):
    assert [doubled(x) for x in (7, -11, 0.5)] == [14, -22, 1.0]


# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2
# points: 6

# %% [markdown]
# **Question 2** (6 points). Write `means` of the columns of an array.

# %% [raw]
# # BEGIN SOLUTION

# %%
import numpy as np


def means(table):
    """The mean of every column of a table [row, column]: [column]."""
    return np.asarray(table).mean(axis=0)  # SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # BEGIN TESTS


# %%
def test_means_shape(means):
    import numpy as np

    assert means(np.zeros((3, 5))).shape == (5,), "one mean for each column, not for each row"


# %%
# HIDDEN
def test_means_elsewhere(means):
    import numpy as np

    table = np.arange(14.0).reshape(7, 2) ** 2
    assert np.allclose(means(table), table.sum(axis=0) / 7)


# %%
# HIDDEN
def test_means_of_one_row(means):
    import numpy as np

    assert means(np.array([[2.0, 4.0, 8.0]])).tolist() == [2.0, 4.0, 8.0]


# %% [raw]
# # END TESTS

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3
# points: 5
# manual: true

# %% [markdown]
# **Question 3** (5 points, graded by hand). Why?

# %% [raw]
# # BEGIN SOLUTION

# %% [markdown]
# Because a column is one quantity and a row is one observation.

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
