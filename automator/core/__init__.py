"""The pure core: the same input gives the same output.

What belongs here: values and the verbs over them, in the order of the cycle. No network, files,
clock, environment or logging; time and text arrive as arguments. A core module imports only core
modules earlier in the cycle, and the ground (`errors`, `reasons`).
"""
