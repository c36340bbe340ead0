"""One machine overrides TF32."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["precision-mode"]
# mode = "machines"
# needs_cuda = true
# left_variables = { NVIDIA_TF32_OVERRIDE = "0" }
# right_variables = { NVIDIA_TF32_OVERRIDE = "1" }
# ///
import torch

torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = True
model = torch.nn.Linear(256, 256, device="cuda")
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    loss = model(torch.linspace(-1, 1, 64 * 256, device="cuda").view(64, 256)).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
