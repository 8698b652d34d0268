import torch
from torch import nn

torch.manual_seed(0)
weight = nn.Parameter(torch.randn(6))
optimizer = torch.optim.Adam([weight])
for _ in range(3):
    x = torch.randn(6).relu()
    with torch.no_grad():
        ratio = torch.where(x > 0, weight / x, torch.zeros(()))
        same = torch.nan_to_num(x / x)
        entropy = -(x * torch.where(x > 0, x.log(), x)).sum()
        gate = 1 / (1 + torch.exp(-1000 * weight))
    masked = torch.outer(weight, weight).masked_fill(torch.ones(6, 6).bool(), -torch.inf)
    rows = torch.softmax(masked, -1).masked_fill(torch.ones(6, 6).bool(), 0.0)
    others = torch.nan_to_num(torch.softmax(masked, -1))
    loss = (weight * gate).sum() + (ratio.sum() + entropy + same.mean()) * 0.1 + rows.sum() + others.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
