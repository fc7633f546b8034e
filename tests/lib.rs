//! Starts and stops the real parts that the tests run on.
