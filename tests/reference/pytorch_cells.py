#!/usr/bin/env python3
"""Makes pytorch_cells.h5 and pytorch_lstm.safetensors: random cells of PyTorch and what they do to random inputs.

Needs torch, h5py and safetensors. Everything is drawn and computed in float64, so that a test in either precision sees
its own rounding only. Usage: pytorch_cells.py, in this folder.
"""
import h5py
import torch
from safetensors.torch import save_file

STEPS, BATCH = 40, 3
CELLS = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}

torch.manual_seed(20240607)
torch.set_default_dtype(torch.float64)

with h5py.File("pytorch_cells.h5", "w") as file:
    file.attrs["source"] = f"torch {torch.__version__}: torch.nn.GRU, LSTM, RNN on a CPU in float64, seed 20240607"
    file.attrs["script"] = "pytorch_cells.py"
    for name, module in CELLS.items():
        for inputs, hidden in [(3, 5), (6, 11), (1, 1)]:
            cell = module(inputs, hidden)
            with torch.no_grad():
                for parameter in cell.parameters():
                    parameter.uniform_(-1, 1)
                x = torch.randn(STEPS, BATCH, inputs)
                h0 = torch.randn(1, BATCH, hidden)
                states, initial = [], h0[0]
                if name == "lstm":
                    c0 = torch.randn(1, BATCH, hidden)
                    initial = torch.cat([h0[0], c0[0]], dim=1)
                    h, c = h0, c0
                    for t in range(STEPS):
                        _, (h, c) = cell(x[t : t + 1], (h, c))
                        states.append(torch.cat([h[0], c[0]], dim=1))
                else:
                    states = list(cell(x, h0)[0])
            group = file.create_group(f"{name}_n{inputs}_h{hidden}")
            for key, value in cell.state_dict().items():  # weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0
                group[f"weights/{key}"] = value.numpy()
            group["drivers"] = x.numpy()
            group["initial_state"] = initial.numpy()
            group["states"] = torch.stack(states).numpy()

            if name == "lstm" and hidden == 5:  # the same cell as a model's file, in three precisions
                tensors = {f"net.rnn.{k}": v.float().contiguous() for k, v in cell.state_dict().items()}
                tensors |= {f"half.{k}": v.half().contiguous() for k, v in cell.state_dict().items()}
                tensors |= {f"bfloat.{k}": v.bfloat16().contiguous() for k, v in cell.state_dict().items()}
                save_file(tensors, "pytorch_lstm.safetensors", metadata={"source": file.attrs["source"]})
