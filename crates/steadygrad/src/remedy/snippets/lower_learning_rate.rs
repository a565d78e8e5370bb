// At each optimizer step: `model = optimizer.step(LEARNING_RATE, model, grads);`
const LEARNING_RATE: f64 = 1.25e-5;
