//! C12: the stored data of a shape that is gone is handed to the cleaner, and that of a live shape never.

mod support;

mod calls;
mod crash;
mod directory_cleaner;
mod failures;
mod handed_over;
mod histories;
mod ownership;
mod reserved;
mod restores;
mod sweep;
mod threads;
mod trust;
