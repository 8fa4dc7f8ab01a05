"""The loops that must be fast: plain functions over arrays, compiled by numba without the GIL.

``prepared`` finds their compiled code: made with the wheel, kept by an earlier process, or compiled now.
"""
