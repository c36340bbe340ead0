"""Who calls: tokens, certificates, and the identity that a call carries."""
