// Where the model is built: `reduce_depth(&mut model.hidden);`, with the layers that end in an
// activation, the one that reads the input included. All must have the same width.
const DEPTH: usize = 5;

fn reduce_depth<Layer>(hidden: &mut Vec<Layer>) {
    hidden.truncate(DEPTH);
}
