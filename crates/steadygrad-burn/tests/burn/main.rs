//! The adapter's tests. They form one program, because each program compiles Burn's generic code
//! again.

mod clipper;
mod examples;
mod guarded_optimizer;
mod optim;
mod prescribed;
mod readme;
mod stages;
mod step_without_rollback;
