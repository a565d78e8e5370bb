//! Run directories: nothing that was written is lost, and nothing half-written is believed.

mod common;
mod damage;
mod folders;
mod forensics;
mod full_disk;
mod snapshots;
mod steps_and_incidents;
