import torch
class LatentSampler:
    def __init__(self, dim):
        self.dim = dim
        self.gen = torch.Generator()
        self.gen.seed()
    def __call__(self, n):
        return torch.randn(n, self.dim, generator=self.gen)
