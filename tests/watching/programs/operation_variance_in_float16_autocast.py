import torch
from torch import nn


class RootMeanSquare(nn.Module):
    def forward(self, x):
        squares = x * x  # cause, fault
        return x / (squares.mean(-1, keepdim=True) + 1e-6).sqrt()


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 8), RootMeanSquare(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
for _ in range(4):
    with torch.autocast("cpu", dtype=torch.float16):
        loss = model(400 * torch.randn(16, 8)).float().square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
