"""Commands for administrators: the certificate authority, machines and tokens."""
