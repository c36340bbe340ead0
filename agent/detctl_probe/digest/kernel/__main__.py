"""Compiles the kernel in place: python -m detctl_probe.digest.kernel"""

from detctl_probe.digest.kernel import compile_into, load

path = compile_into()
kernel = load()
print("%s: %s" % (path, kernel.form if kernel else "cannot be loaded here"))
