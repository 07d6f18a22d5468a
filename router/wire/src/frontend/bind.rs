//! `B`: the parameters of one execution.

use crate::cursor::{Cursor, DecodeError};
use bytes::BytesMut;

/// A Bind message, checked to the last byte.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Everything behind the statement name's NUL: formats, values, result formats. A Bind for another statement name is
    /// made by [`super::put::bind_with`] from it, without a look at the values.
    pub rest: &'a [u8],
    /// Two bytes for each format code.
    formats: &'a [u8],
    /// The first value's length word and all that follows.
    values: &'a [u8],
    count: u16,
    result_formats: &'a [u8],
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    pub binary: bool,
    /// None: NULL.
    pub value: Option<&'a [u8]>,
}

/// The two names at a Bind's head, and what stands behind them unread.
#[derive(Clone, Copy, Debug)]
pub struct BindHead<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    pub rest: &'a [u8],
}

impl<'a> BindHead<'a> {
    /// The names of a Bind whatever its rest is worth: Postgres too looks the statement up before it reads on.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        Ok(BindHead {
            portal: cursor.string()?,
            statement: cursor.string()?,
            rest: cursor.rest(),
        })
    }
}

impl<'a> Bind<'a> {
    /// Format codes that do not exist are let through: Postgres complains of one only when it comes to its value, and of
    /// one that has no value not at all.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let portal = cursor.string()?;
        let statement = cursor.string()?;
        let rest = cursor.rest();
        let formats = codes(&mut cursor)?;
        let count = cursor.u16()?;
        let format_count = formats.len() / 2;
        if format_count > 1 && format_count != usize::from(count) {
            return Err(DecodeError::Invalid(format!(
                "bind message has {format_count} parameter formats but {count} parameters"
            )));
        }
        let values = cursor.rest();
        for _ in 0..count {
            cursor.value()?;
        }
        let result_formats = codes(&mut cursor)?;
        cursor.end()?;
        Ok(Bind {
            portal,
            statement,
            rest,
            formats,
            values,
            count,
            result_formats,
        })
    }

    /// The parameters in order. No format code means text for all, one is for all, else there is one for each.
    pub fn params(&self) -> Params<'a> {
        Params {
            formats: self.formats,
            values: Cursor::new(self.values),
            left: self.count,
        }
    }

    /// How many parameters there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The parameter `$n`, counted from 1; None when there is none. Costs a walk over those before it.
    pub fn param(&self, n: u16) -> Option<Param<'a>> {
        let before = n.checked_sub(1)?;
        self.params().nth(usize::from(before))
    }

    /// The formats of the result's columns: none means text for all, one is for all, else one for each column.
    /// Codes that do not exist are let through, since Postgres complains of them only when it describes the result.
    pub fn result_formats(&self) -> ResultFormats<'a> {
        ResultFormats {
            codes: self.result_formats,
        }
    }
}

/// A Bind with parameters behind the client's own.
#[derive(Clone, Copy, Debug)]
pub struct Appended<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Whose parameters and result formats are kept; None: no parameters, all results in text.
    pub bind: Option<&'a Bind<'a>>,
    /// How many parameters follow, all in binary.
    pub count: u16,
}

impl Appended<'_> {
    /// Writes the whole message; `values` writes the values of the parameters that follow, each with its length word.
    /// The caller has seen that there are at most 65535 parameters together.
    pub fn put(&self, buf: &mut BytesMut, values: impl FnOnce(&mut BytesMut)) {
        let own = self.bind.map_or(0, Bind::count);
        let count = usize::from(own) + usize::from(self.count);
        crate::encode::frame(buf, b'B', |buf| {
            for name in [self.portal, self.statement] {
                crate::encode::string(buf, name, 0xff);
            }
            crate::encode::count(buf, count);
            let formats = self.bind.map_or(&[][..], |bind| bind.formats);
            for index in 0..usize::from(own) {
                // A code that does not exist stays as it is, for the server to complain of.
                let code = match formats.len() / 2 {
                    0 => None,
                    1 => formats.get(..2),
                    2.. => formats.get(index * 2..index * 2 + 2),
                };
                buf.extend_from_slice(code.unwrap_or(&[0, 0]));
            }
            for _ in 0..self.count {
                buf.extend_from_slice(&[0, 1]);
            }
            crate::encode::count(buf, count);
            if let Some(bind) = self.bind {
                let behind = 2 + bind.result_formats.len();
                let end = bind.values.len().saturating_sub(behind);
                buf.extend_from_slice(bind.values.get(..end).unwrap_or_default());
            }
            values(buf);
            let results = self.bind.map_or(&[][..], |bind| bind.result_formats);
            crate::encode::count(buf, results.len() / 2);
            buf.extend_from_slice(results);
        });
    }
}

/// A counted list of format codes.
fn codes<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    let count = usize::from(cursor.u16()?);
    cursor.bytes(count * 2)
}

/// The format that a list of codes gives to the entry `index`.
fn is_binary(codes: &[u8], index: usize) -> bool {
    let first = match codes.len() / 2 {
        0 => return false,
        1 => 0,
        2.. => index * 2,
    };
    codes.get(first..first + 2) == Some(&[0, 1])
}

/// The parameters of a [`Bind`].
#[derive(Clone, Debug)]
pub struct Params<'a> {
    /// The codes of the parameters that are left; one code stays for all.
    formats: &'a [u8],
    values: Cursor<'a>,
    left: u16,
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        self.left = self.left.checked_sub(1)?;
        let binary = is_binary(self.formats, 0);
        // With one code for all, the list is kept; with one for each, it is used up from the front. A list of two or more
        // that has shrunk to one belongs to the last parameter, so keeping it is right as well.
        if self.formats.len() > 2 {
            self.formats = self.formats.get(2..).unwrap_or_default();
        }
        // `Bind::parse` has walked the same bytes, so an error cannot come here; it would end the list.
        let value = self.values.value().ok()?;
        Some(Param { binary, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Params<'_> {}

/// The result formats that a [`Bind`] asks for.
#[derive(Clone, Copy, Debug)]
pub struct ResultFormats<'a> {
    codes: &'a [u8],
}

impl ResultFormats<'_> {
    /// How many codes were sent: 0, 1, or one for each column.
    pub fn len(&self) -> usize {
        self.codes.len() / 2
    }

    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Whether the column `index`, from 0, is wanted in binary. With too few codes the answer is text; Postgres refuses
    /// a Bind whose number of codes is neither 0, 1 nor that of the columns.
    pub fn is_binary(&self, index: usize) -> bool {
        is_binary(self.codes, index)
    }

    /// At least one column is wanted in binary.
    pub fn any_binary(&self) -> bool {
        self.codes.chunks_exact(2).any(|code| code == [0, 1])
    }
}
