//! The adapter's tests, in one program: each program compiles Burn's generic code again.

mod clipper;
mod examples;
mod guarded_optimizer;
mod optim;
mod prescribed;
mod readme;
mod stages;
mod step_without_rollback;
