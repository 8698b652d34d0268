import torch

torch.manual_seed(0)
weight = torch.nn.Parameter(torch.randn(5))
optimizer = torch.optim.LBFGS([weight], max_iter=4)
seen = {"largest": torch.full((5,), -torch.inf), "lowest": torch.tensor(torch.inf)}


def closure():
    optimizer.zero_grad()
    values = weight.square() + 1
    seen["largest"] = torch.maximum(seen["largest"], values.detach())
    seen["lowest"] = torch.minimum(seen["lowest"], values.detach().min())
    loss = torch.logsumexp(torch.cat([values, torch.full((3,), -torch.inf)]), 0)
    loss.backward()
    return loss


for _ in range(3):
    optimizer.step(closure)
top = torch.empty(4).fill_(-float("inf"))
top.scatter_(0, torch.tensor([1, 2]), torch.tensor([0.5, 1.5]))
torch.multinomial(torch.softmax(top, 0), 2)
