import torch


class Size(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.abs()

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * x / x.abs()  # cause, fault


weight = torch.nn.Parameter(torch.tensor([1.0, 0.0, -1.0]))
optimizer = torch.optim.SGD([weight], lr=0.1)
for _ in range(2):
    loss = Size.apply(weight).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
