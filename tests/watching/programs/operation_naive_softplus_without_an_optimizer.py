import torch

weight = torch.zeros(3, requires_grad=True)
for i in range(5):
    x = torch.tensor([1.0, 2.0, 3.0]) * 10.0**i
    loss = torch.log(1 + torch.exp(x @ (weight + 1)))  # cause, fault
    loss.backward()
    with torch.no_grad():
        weight -= 1e-9 * weight.grad
        weight.grad = None
