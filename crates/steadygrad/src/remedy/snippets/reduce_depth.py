# Where the model is built: `self.hidden = reduce_depth(self.hidden)`, a ModuleList of the layers
# that end in an activation, the one that reads the input included. All must have the same width.
DEPTH = 5


def reduce_depth(hidden):
    return hidden[:DEPTH]
