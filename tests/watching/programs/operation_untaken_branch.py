import torch

torch.manual_seed(0)
weight = torch.nn.Parameter(torch.tensor([0.5, 0.0, 2.0]))
optimizer = torch.optim.SGD([weight], lr=1e-3)
for _ in range(3):
    safe = torch.where(weight > 0, torch.log(weight), torch.zeros(()))  # cause, fault
    loss = safe.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
