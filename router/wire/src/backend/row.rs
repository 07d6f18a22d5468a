//! `T`, `D`, `t`: rows and their descriptions.

use crate::cursor::{Cursor, DecodeError};

/// One column of a RowDescription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// 0 when the column is not one of a table.
    pub table_oid: u32,
    /// 0 when the column is not one of a table.
    pub attnum: i16,
    pub type_oid: u32,
    /// Bytes; negative for variable width.
    pub size: i16,
    pub modifier: i32,
    /// 0 text, 1 binary. In the answer to a Describe of a statement it is always 0, for it is not known yet.
    pub format: i16,
}

/// `T`.
pub fn row_description(body: &[u8]) -> Result<Vec<Field<'_>>, DecodeError> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u16()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        fields.push(Field {
            name: cursor.string()?,
            table_oid: cursor.u32()?,
            attnum: cursor.i16()?,
            type_oid: cursor.u32()?,
            size: cursor.i16()?,
            modifier: cursor.i32()?,
            format: cursor.i16()?,
        });
    }
    cursor.end()?;
    Ok(fields)
}

/// `t`: the types of a statement's parameters.
pub fn parameter_description(body: &[u8]) -> Result<Vec<u32>, DecodeError> {
    let mut cursor = Cursor::new(body);
    let count = usize::from(cursor.u16()?);
    let mut words = Cursor::new(cursor.bytes(count * 4)?);
    cursor.end()?;
    (0..count).map(|_| words.u32()).collect()
}

/// `D`: the values of one row, None for NULL. Iterate over it.
#[derive(Clone, Debug)]
pub struct DataRow<'a> {
    values: Cursor<'a>,
    left: u16,
}

/// Checks the whole body before the first value is given out.
pub fn data_row(body: &[u8]) -> Result<DataRow<'_>, DecodeError> {
    let mut cursor = Cursor::new(body);
    let left = cursor.u16()?;
    let values = cursor;
    for _ in 0..left {
        cursor.value()?;
    }
    cursor.end()?;
    Ok(DataRow { values, left })
}

impl<'a> Iterator for DataRow<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // `data_row` has walked the same bytes, so an error cannot come here; it would end the row.
        self.values.value().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for DataRow<'_> {}
