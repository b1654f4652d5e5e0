use std::fmt;

/// The PostgreSQL OID of a table that a shape reads (0 to 4294967295).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relation(u32);

impl Relation {
    /// Returns the relation with this OID.
    pub const fn new(oid: u32) -> Self {
        Self(oid)
    }

    /// Returns the OID.
    pub const fn oid(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The relations of one shape, sorted and without duplicates. A single relation, the usual case, costs no
/// allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relations(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    One(Relation),
    /// Zero, or two and more. An empty box does not allocate.
    Many(Box<[Relation]>),
}

impl Default for Relations {
    fn default() -> Self {
        Self(Repr::Many(Box::default()))
    }
}

impl Relations {
    /// Returns the heap memory of these relations, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::One(_) => 0,
            Repr::Many(all) => size_of_val::<[Relation]>(all),
        }
    }

    /// Returns the relations in ascending order.
    pub fn as_slice(&self) -> &[Relation] {
        match &self.0 {
            Repr::One(one) => std::slice::from_ref(one),
            Repr::Many(all) => all,
        }
    }
}

impl std::ops::Deref for Relations {
    type Target = [Relation];

    fn deref(&self) -> &[Relation] {
        self.as_slice()
    }
}

impl From<Vec<Relation>> for Relations {
    fn from(mut all: Vec<Relation>) -> Self {
        all.sort_unstable();
        all.dedup();
        Self(match all.as_slice() {
            [one] => Repr::One(*one),
            _ => Repr::Many(all.into()),
        })
    }
}

impl FromIterator<Relation> for Relations {
    fn from_iter<I: IntoIterator<Item = Relation>>(all: I) -> Self {
        Vec::from_iter(all).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_sorted_and_unique() {
        let relations: Relations = [3, 1, 3].map(Relation::new).into_iter().collect();
        assert_eq!(*relations, [1, 3].map(Relation::new));
        assert_eq!(size_of::<Relations>(), 16);
    }

    #[test]
    fn c7_only_several_relations_take_heap_memory() {
        let heap_bytes = |count: u32| (0..count).map(Relation::new).collect::<Relations>().heap_bytes();
        assert_eq!([0, 1, 2].map(heap_bytes), [0, 0, 8]);
    }
}
