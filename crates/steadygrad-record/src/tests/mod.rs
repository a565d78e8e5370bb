//! Tests that need to look behind the public functions.

mod crashes;
