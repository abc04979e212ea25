"""The native kernel: `kernel.c`, how it is built, and how it is called."""
