"""Compiles the kernel in place: python -m detctl_probe.kernel"""

from detctl_probe.kernel import compile_into, load

path = compile_into()
kernel = load()
print("%s: %s" % (path, kernel.form if kernel else "cannot be loaded here"))
