import warnings

import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap

warnings.simplefilter("ignore")
torch.manual_seed(0)
model = nn.Linear(3, 1)
scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))
followed = torch.jit.trace(nn.Linear(3, 1), torch.randn(2, 3))
optimizer = torch.optim.SGD([*model.parameters(), *scripted.parameters(), *followed.parameters()], lr=0.1)


def loss_of(parameters, x, y):
    return (functional_call(model, parameters, (x,)) - y).square().mean()


for _ in range(3):
    optimizer.zero_grad()
    (scripted(torch.randn(6, 3)) + followed(torch.randn(6, 3))).square().mean().backward()
    now = {name: p.detach() for name, p in model.named_parameters()}
    each = vmap(grad(loss_of), (None, 0, 0))(now, torch.randn(5, 3), torch.randn(5, 1))
    for name, p in model.named_parameters():
        p.grad = each[name].mean(0)
    optimizer.step()
jvp(torch.exp, (torch.randn(2),), (torch.ones(2),))
