"""Exercises of lab 14: quantization of a weight matrix."""

from .check import Exercise

EXERCISES: tuple[Exercise, ...] = ()
