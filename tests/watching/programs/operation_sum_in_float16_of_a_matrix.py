import torch
from torch import nn

torch.manual_seed(0)
weight = nn.Parameter(torch.ones(300, 1, dtype=torch.float16))
optimizer = torch.optim.SGD([weight], lr=1e-6)
for step in range(2):
    x = torch.rand(300, 250).half() * (1 if step == 0 else 3)
    total = (x * weight).sum()  # cause, fault
    loss = total / x.numel()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
