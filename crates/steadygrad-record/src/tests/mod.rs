//! Tests that use private functions.

mod crashes;
