//! C1 by recorded histories. Threads record their calls, the times of the calls and the answers. A checker
//! (Wing and Gong's, with Lowe's cache of visited states) searches for one order of all calls that respects
//! time, and in which a plain table of shapes gives every answer.
//!
//! The threads read a shape in every way: by handle, by key, by relation, by counts, by a scan, and by the
//! last sequence number. All ways are one object for the checker, so a half-visible shape has no such order.

mod checker_detects_faults;
mod compositions;
