"""The folder of a recording: its log, its documents and the labels of its runs."""
