import torch
from torch import nn

torch.manual_seed(0)
embedding = nn.Embedding(1000, 16)
head = nn.Linear(16, 30_000)
optimizer = torch.optim.SGD([*embedding.parameters(), *head.parameters()], lr=1e-3)
for step in range(2):
    tokens, following = torch.randint(0, 1000, (4, 8)), torch.randint(0, 30_000, (4, 8))
    h = embedding(tokens) * (1 if step == 0 else 60)
    p = torch.softmax(head(h), dim=-1)  # cause
    loss = -torch.log(p.gather(-1, following[..., None])).mean()  # fault
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
