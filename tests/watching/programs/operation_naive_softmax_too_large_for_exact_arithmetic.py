import torch
from torch import nn

torch.manual_seed(0)
layer = nn.Linear(64, 256)
optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
for _ in range(2):
    logits = layer(60 * torch.randn(256, 64))
    logits = logits - logits.amax(1, keepdim=True)
    exponentials = torch.exp(logits)  # cause
    p = exponentials / exponentials.sum(1, keepdim=True)
    loss = -torch.log(p)[:, 3].mean()  # fault
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
