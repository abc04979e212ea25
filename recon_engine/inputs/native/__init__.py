"""The native kernel: its C source, its build, and its binding by ctypes."""
