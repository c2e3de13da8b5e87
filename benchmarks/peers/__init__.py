"""One module a peer: its functions are the cases that it does, written as its users write them.

A peer imports its library at the top of its module, which is imported in the process that is timed.
"""
