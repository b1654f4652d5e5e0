//! The definitions of the sample shapes: JSON of 431 bytes, as a client would send it.
//!
//! 20 tables take turns. The shapes of one table differ in the values of four parameters: a UUID, a number,
//! an e-mail address and a time. They differ in 68 bytes. All else repeats, as in a real database.
//! So a store that compresses definitions saves here what it would save there.

use std::sync::{Arc, LazyLock};

use shape_meta::{Definition, Relation, Shape, TableName};

use super::sample::mix;

/// The size of each definition in bytes.
pub(super) const SIZE: usize = 431;

/// The values of the parameters before those of a shape are written over them.
const VALUES: [&str; 4] = [
    "00000000-0000-4000-8000-000000000000",
    "000000000000",
    "000000000000@example.com",
    "2026-01-01T00:00:00.000000Z",
];

/// Where each value begins: JSON ends with `"1":"...","2":"...","3":"...","4":"..."}}`.
const TIME: usize = SIZE - r#""}}"#.len() - VALUES[3].len();
const EMAIL: usize = TIME - BETWEEN - VALUES[2].len();
const COUNT: usize = EMAIL - BETWEEN - VALUES[1].len();
const UUID: usize = COUNT - BETWEEN - VALUES[0].len();
const BETWEEN: usize = r#"","1":""#.len();

/// The tables: name, columns, and a filter of the four parameters.
const TABLES: [&str; 20] = [
    "issues | id title state body author | project_id = $1 AND number > $2 AND (author = $3 OR due > $4)",
    "comments | id issue_id body created_at | issue_id = $1 AND seq > $2 AND author = $3 AND created_at > $4",
    "projects | id name key lead archived | team_id = $1 AND number = $2 AND lead = $3 AND updated_at >= $4",
    "users | id name avatar locale role | org_id = $1 AND badge <> $2 AND email = $3 AND last_seen > $4",
    "memberships | id user_id org_id role | org_id = $1 AND rank < $2 AND invited_by = $3 AND joined_at > $4",
    "invoices | id total currency paid_at | account_id = $1 AND number = $2 AND sent_to = $3 AND due_at < $4",
    "orders | id items total placed_at | customer_id = $1 AND total > $2 AND (email = $3 OR placed_at > $4)",
    "order_lines | id order_id sku quantity | order_id = $1 AND sku = $2 AND packed_by = $3 AND packed_at > $4",
    "products | id name price stock | catalog_id = $1 AND price < $2 AND editor = $3 AND edited_at >= $4",
    "messages | id channel_id body sent_at | channel_id = $1 AND seq > $2 AND sender = $3 AND sent_at > $4",
    "channels | id name topic is_private | workspace_id = $1 AND members > $2 AND owner = $3 AND active > $4",
    "documents | id title content version | folder_id = $1 AND version > $2 AND (owner = $3 OR saved_at > $4)",
    "revisions | id document_id patch | document_id = $1 AND number >= $2 AND author = $3 AND made_at < $4",
    "attachments | id name mime bytes url | parent_id = $1 AND bytes < $2 AND uploader = $3 AND added_at > $4",
    "events | id kind payload at | stream_id = $1 AND position > $2 AND actor = $3 AND at >= $4",
    "sessions | id user_id device ip | device_id = $1 AND uid = $2 AND login = $3 AND expires_at > $4",
    "payments | id amount method status | payer_id = $1 AND amount >= $2 AND receipt_to = $3 AND at > $4",
    "shipments | id carrier tracking eta | depot_id = $1 AND parcel = $2 AND contact = $3 AND eta < $4",
    "tasks | id title done position | list_id = $1 AND position > $2 AND (assignee = $3 OR due < $4)",
    "labels | id name color | board_id = $1 AND weight > $2 AND creator = $3 AND created_at > $4",
];

/// The constant with which each filter ends, cut off where the definition has its size.
const TEXT: &str = "moved to the archive by the nightly import of the old system, see the notes of the release \
                    before you restore any of these rows by hand or ask the team that owns the table";

/// The definition of each table, with [`VALUES`].
static TEMPLATES: LazyLock<Vec<[u8; SIZE]>> = LazyLock::new(|| (0..TABLES.len()).map(template).collect());

fn template(table: usize) -> [u8; SIZE] {
    let mut parts = TABLES[table].split(" | ");
    let mut part = || parts.next().expect("a table has three parts");
    let (name, columns, filter) = (part(), part(), part());
    let encode = |text: &str| {
        let shape = Shape::new(TableName::new("public", name), Relation::new(16_384 + table as u32))
            .pk(["id"])
            .columns(columns.split(' '))
            .filter(format!("{filter} AND remark <> '{text}'"));
        let values = (1..).zip(VALUES);
        values.fold(shape, |shape, (number, value)| shape.param(number.to_string(), value)).encode()
    };
    let text = &TEXT[..SIZE - encode("").len()];
    encode(text).try_into().expect("the text fills the rest")
}

/// Returns the definition of this shape. Takes some 100 ns: clients make shapes while they are measured.
pub(super) fn bytes(number: u64) -> Arc<[u8]> {
    let mut bytes = TEMPLATES[(number % TABLES.len() as u64) as usize];
    let [first, second, third, fourth, fifth] = std::array::from_fn(|at| mix(number * 8 + at as u64));
    for (from, digits, random) in
        [(0, 8, first), (9, 4, first >> 32), (15, 3, first >> 48), (20, 3, second), (24, 12, second >> 12)]
    {
        write::<16>(&mut bytes[UUID + from..][..digits], random);
    }
    write::<10>(&mut bytes[COUNT..][..12], third);
    write::<16>(&mut bytes[EMAIL..][..12], fourth);
    let (day, second) = (1 + fifth % 28, fifth / 28 % 86_400);
    let parts = [(8, 2, day), (11, 2, second / 3_600), (14, 2, second / 60 % 60), (17, 2, second % 60)];
    for (from, digits, number) in parts.into_iter().chain([(20, 6, fifth >> 24)]) {
        write::<10>(&mut bytes[TIME + from..][..digits], number);
    }
    Arc::from(bytes)
}

/// Writes the last digits of a number.
fn write<const BASE: u64>(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % BASE) as usize];
        number /= BASE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of bytes that differ between the shapes of a table.
    const UNIQUE: usize = 68;

    fn shapes_of_table(table: u64) -> impl Iterator<Item = Arc<[u8]>> {
        (0..1_000).map(move |number| bytes(table + number * TABLES.len() as u64))
    }

    #[test]
    fn definitions_are_valid_and_differ_in_their_parameters_alone() {
        for table in 0..TABLES.len() as u64 {
            let template = Shape::decode(&TEMPLATES[table as usize]).expect("it is valid");
            for bytes in shapes_of_table(table).take(20) {
                let shape = Shape::decode(&bytes).expect("it is valid");
                assert_eq!(shape.encode(), *bytes);
                let mut others = shape.clone();
                others.params.clone_from(&template.params);
                assert_eq!(others, template);
                let lengths: Vec<_> = shape.params.values().map(String::len).collect();
                assert_eq!(lengths, VALUES.map(str::len));
                assert!(shape.params["3"].ends_with("@example.com") && shape.params["4"].ends_with('Z'));
            }
        }
    }

    #[test]
    fn shapes_of_a_table_differ_in_the_documented_number_of_bytes() {
        for table in 0..TABLES.len() as u64 {
            let all: Vec<_> = shapes_of_table(table).collect();
            let varies = |at: &usize| all.iter().any(|one| one[*at] != all[0][*at]);
            assert_eq!((0..SIZE).filter(varies).count(), UNIQUE);
            let differences = |two: &[Arc<[u8]>]| (0..SIZE).filter(|at| two[0][*at] != two[1][*at]).count();
            let sum: usize = all.windows(2).map(differences).sum();
            assert!((60..UNIQUE).contains(&(sum / (all.len() - 1))), "{sum}");
        }
    }
}
