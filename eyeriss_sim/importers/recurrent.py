"""Recurrent layers of a torch trace in closed form: two short runs stand for all steps.

A step does what the step before it did, so that what a run needs grows by the same with
each further step: the rows of products over the inputs of all steps, the number of
products of what came of the last step, the calls of elementwise operators.
"""

from collections import Counter

# torch's functions that run all steps of a layer.
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
# How modules call the filters that each step runs again.
STEP_WEIGHTS = ("weight_ih", "weight_hh", "weight_hr")
FEW = (2, 3)


def runs_at_each_step(name):
    """True if a product is of a recurrent layer or cell, by the name of its weight.

    Examples
    --------
    >>> runs_at_each_step("encoder.weight_hh_l0"), runs_at_each_step("fc")
    (True, False)
    """
    return name.rpartition(".")[2].startswith(STEP_WEIGHTS)


def is_packed(name, args):
    """True if a call runs packed steps: their batch sizes come second.

    The weights are then the fourth argument.
    """
    return name in RECURRENT and len(args) > 3 and isinstance(args[3], (list, tuple))


def is_long(func, args):
    """True if a call runs more steps of one unpacked tensor than a closed form does.

    Only as torch's modules write it: all nine arguments by place.
    """
    name = getattr(func, "__name__", "")
    if name not in RECURRENT or len(args) < 9 or is_packed(name, args):
        return False
    return args[0].shape[1 if args[-1] else 0] > FEW[-1]


def in_closed_form(recorder, func, args):
    """Log all steps of a call that :func:`is_long` from runs of two and of three steps.

    Parameters
    ----------
    recorder : Recorder
        On meta; its log gets the products and operators of all steps.
    func : callable
        The function that torch calls, with the input first and "batch first" last.
    args : tuple

    Returns
    -------
    tuple of Tensor
        What ``func`` gives for all steps, on meta.
    """
    axis = 1 if args[-1] else 0
    steps = args[0].shape[axis]
    log, seen = recorder.log, []
    try:
        for few in FEW:
            recorder.log = _Calls()
            out, *states = func(args[0].narrow(axis, 0, few), *args[1:])
            seen.append(recorder.log)
    finally:
        recorder.log = log
    two, three = seen
    _log_all_steps(log, two, three, steps)
    shape = list(out.shape)
    shape[axis] = steps
    return recorder.follow(out, out.new_empty(shape)), *states


def packed_steps(recorder, func, args):
    """Log a call that :func:`is_packed`; the inputs of all its steps are one product.

    Torch on meta multiplies them step by step, unlike on tensors with values.
    Parameters and result are as those of :func:`in_closed_form`.
    """
    log, recorder.log = recorder.log, _Calls()
    try:
        results, calls = func(*args), recorder.log
    finally:
        recorder.log = log
    logged = set()
    for name, sizes, options in calls.order:
        of_inputs = name.replace("weight_hh", "weight_ih")
        if of_inputs in calls.products and of_inputs not in logged:
            logged.add(of_inputs)
            (_, *others), how = calls.products[of_inputs][0]
            log.product(of_inputs, sum(
                rows for (rows, *_), _ in calls.products[of_inputs]), *others, **how)
        if name not in logged:
            log.product(name, *sizes, **options)
    for op, count in calls.calls.items():
        log.other(op, calls.outputs[op], count)
    return results


class _Calls:
    """Takes an OperatorLog's place and only keeps what it is told."""

    def __init__(self):
        self.products = {}          # name: [(arguments, options), ...]
        self.order = []             # (name, arguments, options)
        self.calls: Counter[str] = Counter()
        self.outputs: Counter[str] = Counter()

    def product(self, name, *sizes, **options):
        self.products.setdefault(name, []).append((sizes, options))
        self.order.append((name, sizes, options))

    def other(self, op, outputs):
        self.calls[op] += 1
        self.outputs[op] += outputs


def _log_all_steps(log, two, three, steps):
    def of_all(at_two, at_three):
        return at_two + (steps - FEW[0]) * (at_three - at_two)

    for name, products in three.products.items():
        before = two.products[name]
        if len(products) > len(before):
            sizes, options = products[0]
            log.product(name, *sizes, **options,
                        steps=of_all(len(before), len(products)))
            continue
        for ((few_rows, *_), _), ((rows, *sizes), options) in zip(
                before, products, strict=True):
            log.product(name, of_all(few_rows, rows), *sizes, **options)
    for op, calls in three.calls.items():
        log.other(op, of_all(two.outputs[op], three.outputs[op]),
                  of_all(two.calls[op], calls))
