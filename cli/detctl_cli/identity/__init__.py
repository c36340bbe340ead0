"""Certificates and tokens: what `detctl ca`, `detctl machine` and `detctl token` make."""
