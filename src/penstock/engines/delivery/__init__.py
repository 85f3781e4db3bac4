"""Delivering what a change caused: when to try again, and what is sent."""
