//! Run directories lose nothing that was written. Readers reject half-written data.

mod common;
mod damage;
mod folders;
mod forensics;
mod full_disk;
mod snapshots;
mod steps_and_incidents;
