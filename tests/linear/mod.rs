//! C1 by recorded histories: threads write down what they asked for, when, and what they were told, and a
//! checker (Wing and Gong's, with Lowe's memory of what it has tried) searches for one order of all of it that
//! respects time and in which a plain table of shapes gives every answer.
//!
//! All ways to a shape are read (by handle, by key, by relation, by the counts, by a scan, by the place in the
//! order), and all of them are one object for the checker. So a shape that is half visible has no such order.

mod compositions;
mod teeth;
