//! The rows of RETURNING and the tag: one answer of all parts.

use super::{Member, Spreading};
use bytes::{Bytes, BytesMut};
use shardgate_plan::{Returns, RowKeys, SpreadPart};
use shardgate_wire::PgError;
use shardgate_wire::backend::{data_row, put as reply, row_description};
use shardgate_wire::frontend::Bind;

impl Spreading {
    /// The formats of a part's columns: the client's, and one more in binary where the part has one more.
    pub(super) fn result_formats(&self, bind: Option<&Bind<'_>>) -> Vec<bool> {
        let asked = bind.map(Bind::result_formats);
        let of_client = |at| asked.as_ref().is_some_and(|formats| formats.is_binary(at));
        match &self.spread.returns {
            Returns::ByKey(_) => {
                let columns = self
                    .description
                    .as_deref()
                    .and_then(|frame| row_description(frame.get(5..)?).ok())
                    .map_or(0, |fields| fields.len());
                (0..columns).map(of_client).chain([true]).collect()
            }
            Returns::Nothing | Returns::AnyOrder | Returns::InOrder => {
                let count = asked.as_ref().map_or(0, |formats| formats.len());
                (0..count).map(of_client).collect()
            }
        }
    }

    /// Before anything is committed: the parts fit together, and their rows are brought into order.
    pub(super) fn complete(&mut self) -> Result<(), PgError> {
        self.tag()?;
        self.ordered = match &self.spread.returns {
            Returns::Nothing => Vec::new(),
            Returns::AnyOrder => {
                let rows = self
                    .members
                    .iter_mut()
                    .map(|member| std::mem::take(&mut member.rows));
                rows.flatten().collect()
            }
            Returns::InOrder => self.in_order()?,
            Returns::ByKey(keys) => self.by_key(keys)?,
        };
        Ok(())
    }

    /// The parts with their shards.
    fn parts(&self) -> impl Iterator<Item = (&SpreadPart, &Member)> {
        let members = self.members.iter();
        members.filter_map(|member| Some((self.spread.part(member.shard)?, member)))
    }

    /// Every row of VALUES has given one.
    fn in_order(&self) -> Result<Vec<Bytes>, PgError> {
        let mut numbered = Vec::with_capacity(self.spread.rows.len());
        for (part, member) in self.parts() {
            if part.rows.len() != member.rows.len() {
                let message = format!(
                    "shard \"{}\" returned another number of rows than it was given",
                    member.name
                );
                return Err(PgError::error("XX000", message));
            }
            let numbers = part.rows.iter().map(|row| row.number);
            numbered.extend(numbers.zip(member.rows.iter().cloned()));
        }
        Ok(sorted(numbered))
    }

    /// Rows of VALUES may have been left out.
    fn by_key(&self, keys: &RowKeys) -> Result<Vec<Bytes>, PgError> {
        let mut numbered = Vec::with_capacity(self.spread.rows.len());
        for (part, member) in self.parts() {
            let given: Vec<usize> = part.rows.iter().map(|row| row.number).collect();
            let cut: Option<Vec<(Bytes, &[u8])>> =
                member.rows.iter().map(|row| without_key(row)).collect();
            let (rows, found): (Vec<Bytes>, Vec<&[u8]>) = cut
                .ok_or_else(|| {
                    let message =
                        format!("shard \"{}\" returned a row without its key", member.name);
                    PgError::error("XX000", message)
                })?
                .into_iter()
                .unzip();
            let numbers = match found.len() == given.len() {
                true => given,
                false => keys.returned(&given, &found).ok_or_else(unknown_order)?,
            };
            numbered.extend(numbers.into_iter().zip(rows));
        }
        Ok(sorted(numbered))
    }

    fn tag(&self) -> Result<String, PgError> {
        let tags = self.members.iter().filter(|member| member.part);
        if self.spread.copies.is_some() {
            return self.tag_of_copies();
        }
        shardgate_merge::combine(tags.map(|member| member.part_tag.as_str())).map_err(|error| {
            PgError::error("XX000", "the shards did not answer alike").detail(error.to_string())
        })
    }

    /// Every copy has said the same, or they were not alike before.
    fn tag_of_copies(&self) -> Result<String, PgError> {
        let home = self
            .home()
            .map(|home| home.part_tag.clone())
            .unwrap_or_default();
        match self.members.iter().find(|member| member.part_tag != home) {
            None => Ok(home),
            Some(member) => Err(PgError::error(
                "XX001",
                "the copies of a reference table are not alike",
            )
            .detail(format!(
                "The home shard said \"{home}\", shard \"{}\" \"{}\".",
                member.name, member.part_tag
            ))
            .hint("Compare the copies; nothing was changed.")),
        }
    }

    /// The whole answer: in the extended protocol the columns were described before.
    pub(super) fn answer(&self, bytes: &mut BytesMut) {
        if let (true, Some(description)) = (self.execution.is_simple(), &self.description) {
            bytes.extend_from_slice(description);
        }
        let max = usize::try_from(self.execution.max_rows).unwrap_or(0);
        let count = match max {
            0 => self.ordered.len(),
            _ => self.ordered.len().min(max),
        };
        for row in self.ordered.iter().take(count) {
            bytes.extend_from_slice(row);
        }
        if max > 0 && count == max {
            // As a portal of one server, which has more rows, or does not know yet that it has none.
            reply::portal_suspended(bytes);
        } else {
            reply::command_complete(bytes, &self.tag().unwrap_or_default());
        }
    }
}

/// In the order of VALUES.
fn sorted(mut numbered: Vec<(usize, Bytes)>) -> Vec<Bytes> {
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, row)| row).collect()
}

/// A row without its last column, and the value of that.
fn without_key(frame: &[u8]) -> Option<(Bytes, &[u8])> {
    let mut values: Vec<Option<&[u8]>> = data_row(frame.get(5..)?).ok()?.collect();
    let key = values.pop()??;
    let mut made = BytesMut::with_capacity(frame.len());
    reply::data_row(&mut made, &values);
    Some((made.freeze(), key))
}

fn unknown_order() -> PgError {
    PgError::error("0A000", "the order of the rows of RETURNING is not known")
        .detail("Of several rows with one sharding key, ON CONFLICT has left out some and not others; RETURNING does not say which, and other shards have rows between them.")
        .hint("Leave RETURNING out, or insert the rows of each key with a statement of their own.")
}
