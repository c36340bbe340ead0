"""Observes the data: loaders, workers, order, samples and batches."""
