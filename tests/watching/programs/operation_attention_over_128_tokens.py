import math

import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (a.view(b, t, self.heads, -1).transpose(1, 2) for a in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        e = torch.exp(scores)  # cause, fault
        p = e / e.sum(-1, keepdim=True)
        return self.out((p @ v).transpose(1, 2).reshape(b, t, d))


torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for step in range(2):
    x = torch.randn(4, 128, 32)
    if step == 1:
        x[3, 17] *= 40
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
