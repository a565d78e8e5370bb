//! The adapter's tests: one program, since each one compiles Burn's generic code for itself.

mod clipper;
mod examples;
mod guarded_optimizer;
mod guarded_step;
mod optim;
mod prescribed;
mod readme;
mod stages;
