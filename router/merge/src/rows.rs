//! Rows of one table from several shards -> one array parameter of the table's row type.
//!
//! A row comes as a DataRow with one field, the row itself in binary; that field, with its length word, is an element of an
//! array in binary as it stands (arrayfuncs.c, array_recv). So no value is looked at.

use shardgate_wire::DecodeError;
use shardgate_wire::backend::data_row;

/// What is asked of memory at once. A row that is longer has a piece of its own.
const PIECE_BYTES: usize = 64 * 1024;

/// The length word and the number of fields before the first value of a DataRow.
const BEFORE_FIELD: usize = 2;

/// The number of dimensions, the flag for NULLs and the element's type; the length and lower bound of a dimension.
const HEAD_BYTES: usize = 12;
const DIMENSION_BYTES: usize = 8;

/// Postgres takes no message that is as long as 1 GiB; some room is left for the rest of it.
const ARRAY_BYTES_MAX: usize = (1 << 30) - (1 << 24);

/// The rows of one table on one shard, in the order in which they came.
#[derive(Debug, Default)]
pub struct Rows {
    count: u32,
    bytes: usize,
    pieces: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("a row is malformed: {0}")]
    Malformed(String),
    #[error("a row has not one value that is not NULL")]
    NotOneValue,
    #[error("there are more rows than an array can hold")]
    TooMany,
}

impl Rows {
    /// Adds a row: the body of its DataRow. Its bytes are copied once. Answers how many bytes it has added.
    ///
    /// # Errors
    /// A body that is no DataRow with one value.
    pub fn push(&mut self, body: &[u8]) -> Result<usize, RowError> {
        let mut fields = data_row(body).map_err(|error| malformed(&error))?;
        let (Some(Some(_)), None) = (fields.next(), fields.next()) else {
            return Err(RowError::NotOneValue);
        };
        let element = body.get(BEFORE_FIELD..).unwrap_or_default();
        let fits = |piece: &&mut Vec<u8>| piece.capacity() - piece.len() >= element.len();
        match self.pieces.last_mut().filter(fits) {
            Some(piece) => piece.extend_from_slice(element),
            None => {
                let mut piece = Vec::with_capacity(element.len().max(PIECE_BYTES));
                piece.extend_from_slice(element);
                self.pieces.push(piece);
            }
        }
        self.count = self.count.checked_add(1).ok_or(RowError::TooMany)?;
        self.bytes += element.len();
        Ok(element.len())
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of all elements with their length words.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn malformed(error: &DecodeError) -> RowError {
    RowError::Malformed(error.to_string())
}

/// The bytes of the array that the rows of all parts make.
///
/// # Errors
/// More rows, or bytes, than a parameter can hold.
pub fn array_bytes(parts: &[&Rows]) -> Result<usize, RowError> {
    let bytes: usize = parts.iter().map(|part| part.bytes).sum();
    let fits = i32::try_from(count(parts)).is_ok() && bytes <= ARRAY_BYTES_MAX;
    if fits {
        Ok(bytes
            + HEAD_BYTES
            + if count(parts) == 0 {
                0
            } else {
                DIMENSION_BYTES
            })
    } else {
        Err(RowError::TooMany)
    }
}

fn count(parts: &[&Rows]) -> u64 {
    parts.iter().map(|part| u64::from(part.count)).sum()
}

/// Writes the rows of all parts as the value of one parameter, its length word first. `array_bytes` has said that they
/// fit.
pub fn put_array(element_type: u32, parts: &[&Rows], mut put: impl FnMut(&[u8])) {
    let rows = i32::try_from(count(parts)).unwrap_or(i32::MAX);
    let bytes = array_bytes(parts).unwrap_or_default();
    let length = i32::try_from(bytes).unwrap_or(i32::MAX);
    let dimension: &[i32] = if rows == 0 { &[] } else { &[rows, 1] };
    put(&length.to_be_bytes());
    // The number of dimensions, "no NULLs", the element's type; then the dimension's length and lower bound.
    put(&i32::from(rows != 0).to_be_bytes());
    put(&0_i32.to_be_bytes());
    put(&element_type.to_be_bytes());
    for number in dimension {
        put(&number.to_be_bytes());
    }
    for piece in parts.iter().flat_map(|part| &part.pieces) {
        put(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 1];
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
        body
    }

    fn array(parts: &[&Rows]) -> Vec<u8> {
        let mut made = Vec::new();
        put_array(7, parts, |bytes| made.extend_from_slice(bytes));
        assert_eq!(array_bytes(parts), Ok(made.len() - 4));
        made
    }

    #[test]
    fn no_rows_are_an_array_without_dimensions() {
        let expect = [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(array(&[&Rows::default(), &Rows::default()]), expect);
    }

    #[test]
    fn rows_of_all_shards_stand_behind_one_another() {
        let (mut a, mut b) = (Rows::default(), Rows::default());
        assert_eq!(a.push(&row(b"ab")), Ok(6));
        assert_eq!(b.push(&row(b"")), Ok(4));
        let made = array(&[&a, &b]);
        let head = [
            0, 0, 0, 30, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1,
        ];
        assert_eq!(made.get(..24), Some(&head[..]));
        assert_eq!(
            made.get(24..),
            Some(&[0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0][..])
        );
    }

    #[test]
    fn long_rows_and_many_rows_keep_their_order() {
        let mut rows = Rows::default();
        let mut expect = Vec::new();
        for length in [1, 40_000, 100_000, 3, 30_000, 5] {
            let value = vec![length as u8; length];
            assert_eq!(rows.push(&row(&value)), Ok(length + 4));
            expect.extend_from_slice(&(length as u32).to_be_bytes());
            expect.extend_from_slice(&value);
        }
        assert_eq!(rows.bytes(), expect.len());
        assert_eq!(array(&[&rows]).get(24..), Some(&expect[..]));
    }

    #[test]
    fn what_is_no_single_value_is_an_error() {
        let check = |body: &[u8], expect: &str| {
            let error = Rows::default().push(body).expect_err("an error");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(&[0, 1, 0xff, 0xff, 0xff, 0xff], "not one value");
        check(&[0, 0], "not one value");
        check(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0], "not one value");
        check(&[0, 1, 0, 0, 0, 9, 1], "malformed");
        check(&[], "malformed");
    }
}
