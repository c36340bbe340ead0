"""Opens files safely, makes private ones, and finds the file system of a path."""
