//! The command as a script sees it: what it prints, how it exits, and what it leaves alone.

mod support;

mod damaged;
mod looking;
mod moving;
