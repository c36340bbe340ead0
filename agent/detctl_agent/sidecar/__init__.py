"""A recorder and a training in two containers: the program of the training's side, its archive, and the recorder's side."""
